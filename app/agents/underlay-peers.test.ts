import { expect, test } from 'vitest';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { addressAt, chooseNumber, peersOf, type UnderlayNode } from './underlay-peers.ts';

const RANGE = '198.19.0.0/16';
const DAY_MS = 86_400_000;

function node(name: string, number: number, more: Partial<UnderlayNode> = {}): UnderlayNode {
  const id = HostId.parse(`${name}-000000`);
  const said = { publicKey: name, endpoint: `10.0.0.${number}`, seenAtMs: 30 * DAY_MS };
  return { id, role: 'host', number, ...said, ...more };
}

test('everybody is everybody else’s peer; only sessions with gateways are kept alive', () => {
  const nodes = [node('a', 1), node('b', 2), node('gw', 3, { role: 'gateway' })];
  const seen = nodes.map(({ id }) =>
    peersOf(id, nodes, RANGE).map(({ address, keepAlive }) => [address, keepAlive]),
  );
  expect(seen).toEqual([
    [
      ['198.19.0.2', false],
      ['198.19.0.3', true],
    ],
    [
      ['198.19.0.1', false],
      ['198.19.0.3', true],
    ],
    [
      ['198.19.0.1', true],
      ['198.19.0.2', true],
    ],
  ]);
});

test('a node that has been away for a week is left out, measured by the one seen last', () => {
  const nodes = [node('a', 1), node('b', 2, { seenAtMs: 22 * DAY_MS })];
  expect(peersOf(HostId.parse('a-000000'), nodes, RANGE)).toEqual([]);
  const longAgo = nodes.map((one) => ({ ...one, seenAtMs: 22 * DAY_MS }));
  expect(peersOf(HostId.parse('a-000000'), longAgo, RANGE)).toHaveLength(1);
});

test.each([
  { taken: [], number: 1 },
  { taken: [1, 2], number: 3 },
  { taken: [1, 14], number: 2 },
  { taken: Array.from({ length: 14 }, (_, at) => at + 1), number: undefined },
])('after $taken in a range of 16 comes $number', ({ taken, number }) => {
  expect(chooseNumber(taken, '198.19.5.0/28')).toBe(number);
});

test('addresses count from the range’s first, whatever address names it', () => {
  expect(addressAt('198.19.7.9/16', 258)).toBe('198.19.1.2');
});
