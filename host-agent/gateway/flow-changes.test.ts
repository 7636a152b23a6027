import { expect, it } from 'vitest';
import type { FlowSpec } from '../protocol/gateway-messages.ts';
import { mustTell, type ToldFlows } from './flow-changes.ts';

const flow: FlowSpec = {
  ...{ number: 5, protocol: 6, guestAddress: '10.201.0.5', guestPort: 40_000 },
  ...{ publicAddress: '203.0.113.1', publicPort: 12_300, remote: '203.0.113.9', remotePort: 443 },
  ...{ state: 1, idleNs: 0 },
};

it.each<[string, Partial<FlowSpec>, number, boolean]>([
  ['the same again', {}, 0, false],
  ['idle since', { idleNs: 60e9 }, 60e9, false],
  ['heard a little later', {}, 500e9, false],
  ['heard much later', {}, 700e9, true],
  ['in another state', { state: 2 }, 0, true],
  ['another guest’s port now', { guestPort: 40_001 }, 0, true],
  ['another one', { remotePort: 80 }, 0, true],
])('after it was told, a flow that is %s', (_, over, laterNs, expected) => {
  const told: ToldFlows = new Map();
  expect(mustTell(told, flow, 1e9)).toBe(true);
  expect(mustTell(told, { ...flow, ...over }, 1e9 + laterNs)).toBe(expected);
});

it.each([
  [4e9, false],
  [11e9, true],
])('datagrams’ flows are kept younger: %s ns later', (laterNs, expected) => {
  const told: ToldFlows = new Map();
  mustTell(told, { ...flow, protocol: 17 }, 1e9);
  expect(mustTell(told, { ...flow, protocol: 17 }, 1e9 + laterNs)).toBe(expected);
});
