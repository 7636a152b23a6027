import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HostId } from '../../host-agent/protocol/ids.ts';
import type { AgentRequest } from '../../host-agent/protocol/messages.ts';
import { fleetHost } from '../../test/fixtures/records.ts';
import { ActingBook } from './acting-book.ts';
import { GatewayPairs } from './gateway-pairs.ts';
import type { Gateway } from './ports.ts';

const [A, B] = [HostId.parse('gw-a'), HostId.parse('gw-b')];

function gateway(id: HostId, underlay: string): Gateway {
  return {
    ...{ id, hostname: id, state: 'connected', underlay, flipPort: 1, floating: '203.0.113.1' },
    ...{ publicAddress: '203.0.113.1', hears: undefined, vms: 0, stateSinceMs: 0 },
  };
}

function world({ answers = false, hostFails = 0 } = {}) {
  const gateways = [gateway(A, '100.64.0.1'), gateway(B, '100.64.0.2')];
  const asked: AgentRequest[] = [];
  let failures = hostFails;
  const dir = mkdtempSync(join(tmpdir(), 'architect-pairs-'));
  const book = new ActingBook(join(dir, 'gateways.db'));
  onTestFinished(() => {
    book.close();
    rmSync(dir, { recursive: true });
  });
  const pairs = new GatewayPairs({
    port: { gateways: () => gateways, answers: async () => answers },
    book,
    fleet: {
      hosts: () => [fleetHost({ id: 'host-1' })],
      request: async (_, request) => {
        asked.push(request);
        failures -= 1;
        if (failures >= 0) throw new Error('it is away');
        return { kind: 'taken' };
      },
    },
    logger: pino({ level: 'silent' }),
  });
  pairs.roles();
  const hear = (hears: Gateway['hears']) => {
    gateways[1] = { ...gateway(B, '100.64.0.2'), hears };
  };
  return { pairs, asked, hear, book, gateways };
}

describe('GatewayPairs', () => {
  it.each([
    ['silent', false, true, 'both have lost it'],
    ['silent', true, false, 'it answers here'],
    ['away', false, false, 'its machine is there'],
    ['heard', false, false, 'its standby hears it'],
  ] as const)(
    'a standby says %s, an answer %s: takeover %s, %s',
    async (hears, answers, expected, _why) => {
      const { pairs, hear } = world({ answers });
      hear(hears);
      expect(await pairs.rescue()).toBe(expected);
      expect(pairs.readActing()(A)).toBe(expected ? B : A);
      expect(pairs.roles().get(A)?.kind).toBe(expected ? 'standby' : 'acting');
    },
  );

  it('tells each host once, and again where that failed', async () => {
    const { pairs, asked } = world({ hostFails: 1 });
    pairs.tellHosts();
    expect(asked).toEqual([]);
    expect(pairs.takeOver(B, 'a test')).toBeUndefined();
    const turns = [{ from: '100.64.0.1', to: '100.64.0.2' }];
    for (let n = 0; n < 3; n += 1) {
      pairs.tellHosts();
      await Promise.resolve().then(() => undefined);
    }
    expect(asked).toEqual(Array(2).fill({ kind: 'use-gateways', turns }));
  });

  it('follows the one that acts to another port', () => {
    const { pairs, gateways, book } = world();
    gateways[0] = { ...gateway(A, '100.64.0.1'), flipPort: 2 };
    expect(pairs.roles().get(B)).toMatchObject({ follow: { gatewayId: A, port: 2 } });
    expect(book.entries()).toMatchObject([{ gatewayId: A, flipPort: 2, term: 2 }]);
  });

  it('refuses what is no takeover, and one that comes too late', () => {
    const { pairs, book } = world();
    expect(pairs.takeOver(A, 'a test')).toMatchObject({ kind: 'refused' });
    expect(pairs.takeOver(B, 'a test')).toBeUndefined();
    expect(pairs.takeOver(B, 'a test')).toMatchObject({ kind: 'refused' });
    const [entry] = book.entries();
    expect(entry).toMatchObject({ gatewayId: B, term: 2 });
    expect(entry && book.put({ ...entry, gatewayId: A })).toBe(false);
  });
});
