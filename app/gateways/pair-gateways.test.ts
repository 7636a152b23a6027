import { describe, expect, it } from 'vitest';
import { HostId } from '../../host-agent/protocol/ids.ts';
import {
  type Acting,
  findAlarmed,
  networkNow,
  planEntries,
  planTakeover,
  rolesOf,
  turnsOf,
} from './pair-gateways.ts';
import type { Gateway } from './ports.ts';

const ADDRESS = '203.0.113.1';
const [A, B, C] = ['gw-a', 'gw-b', 'gw-c'].map((id) => HostId.parse(id));
if (A === undefined || B === undefined || C === undefined) throw new Error('no gateways');
const UNDERLAY: Readonly<Record<string, string>> = { [A]: '100.64.0.1', [B]: '100.64.0.2' };

function gateway(id: HostId, over: Partial<Gateway> = {}): Gateway {
  return {
    ...{ id, hostname: id, state: 'connected', underlay: UNDERLAY[id] ?? '100.64.0.3' },
    ...{
      flipPort: 49_216,
      publicAddress: ADDRESS,
      floating: ADDRESS,
      hears: undefined,
      vms: 0,
      stateSinceMs: 0,
    },
    ...over,
  };
}

const away = { state: 'away', underlay: undefined, flipPort: undefined } as const;
const entry: Acting = {
  ...{ address: ADDRESS, gatewayId: A, underlay: '100.64.0.1', flipPort: 49_216, term: 1 },
  replaced: [],
};
const after: Acting = {
  ...{ ...entry, gatewayId: B, underlay: '100.64.0.2', term: 2 },
  replaced: [{ gatewayId: A, underlay: '100.64.0.1' }],
};

describe('planEntries', () => {
  it.each<[string, readonly Gateway[], readonly Acting[], readonly Acting[]]>([
    ['the first of an address acts', [gateway(A), gateway(B)], [], [entry]],
    ['whoever the book names acts', [gateway(B), gateway(A)], [entry], []],
    ['one that was replaced does not act again', [gateway(A)], [after], []],
    ['nobody acts that is away', [gateway(A, away)], [], []],
    ['an address of its own is in no book', [gateway(A, { floating: undefined })], [], []],
    [
      'its port moves',
      [gateway(A, { flipPort: 5_000 })],
      [entry],
      [{ ...entry, flipPort: 5_000, term: 2 }],
    ],
  ])('%s', (_, gateways, book, expected) => {
    expect(planEntries(gateways, book)).toEqual(expected);
  });
});

describe('rolesOf', () => {
  it('has one act, and the others follow it, there or not', () => {
    const follow = { gatewayId: A, host: '100.64.0.1', port: 49_216 };
    const gateways = [gateway(A), gateway(B), gateway(C, { floating: undefined })];
    expect([...rolesOf(gateways, [entry])]).toEqual([
      [A, { kind: 'acting', standbys: [B] }],
      [B, { kind: 'standby', follow }],
      [C, { kind: 'acting', standbys: [] }],
    ]);
    expect([...rolesOf([gateway(A, away), gateway(B)], [entry])]).toEqual([
      [B, { kind: 'standby', follow }],
    ]);
  });
});

describe('findAlarmed', () => {
  it.each<[string, readonly Gateway[], number]>([
    ['a standby hears nothing', [gateway(A), gateway(B, { hears: 'silent' })], 1],
    ['a machine without its agent carries packets', [gateway(B, { hears: 'away' })], 0],
    ['all is well', [gateway(B, { hears: 'heard' })], 0],
    ['an old word of the one that acts', [gateway(A, { hears: 'silent' })], 0],
    ['two standbys, one takeover', [B, C].map((id) => gateway(id, { hears: 'silent' })), 1],
  ])('%s', (_, gateways, expected) => {
    expect(findAlarmed(gateways, [entry])).toHaveLength(expected);
  });
});

describe('planTakeover', () => {
  it('counts the term up and remembers whom it replaced', () => {
    expect(planTakeover(gateway(B), [entry])).toEqual(after);
    expect(turnsOf([after])).toEqual([{ from: '100.64.0.1', to: '100.64.0.2' }]);
  });

  it('gives the first back what was its own', () => {
    expect(planTakeover(gateway(A), [after])).toEqual({
      ...entry,
      term: 3,
      replaced: [{ gatewayId: B, underlay: '100.64.0.2' }],
    });
  });

  it.each([
    ['it acts already', gateway(A)],
    ['it is away', gateway(B, away)],
    ['its address is its own', gateway(B, { floating: undefined })],
    ['it is unknown', undefined],
  ])('is none when %s', (_, one) => {
    expect(planTakeover(one, [entry])).toBeUndefined();
  });
});

describe('networkNow', () => {
  const network = { guestAddress: '10.201.0.5', gateway: A, gatewayAddress: '100.64.0.1' };

  it('follows takeovers, there and back', () => {
    const moved = { ...network, gateway: B, gatewayAddress: '100.64.0.2' };
    expect(networkNow(network, [after])).toEqual(moved);
    expect(networkNow(network, [entry])).toEqual(network);
    expect(networkNow(moved, [{ ...entry, replaced: [{ gatewayId: B, underlay: '' }] }])).toEqual(
      network,
    );
    expect(networkNow({ ...network, gateway: C }, [after])).toMatchObject({ gateway: C });
  });
});
