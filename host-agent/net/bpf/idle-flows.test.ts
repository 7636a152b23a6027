import { expect, test } from 'vitest';
import { NAT_STATES } from './abi.ts';
import { flattenIdleSeconds, ICMP, isIdle, LINUX_IDLE_SECONDS, TCP, UDP } from './idle-flows.ts';

const DAY_SECONDS = 86_400;

test.each([
  { protocol: TCP, state: 'open', aliveSeconds: 4 * DAY_SECONDS, idleSeconds: 6 * DAY_SECONDS },
  { protocol: TCP, state: 'opening', aliveSeconds: 119, idleSeconds: 121 },
  { protocol: TCP, state: 'closed', aliveSeconds: 9, idleSeconds: 11 },
  { protocol: UDP, state: 'opening', aliveSeconds: 29, idleSeconds: 31 },
  { protocol: UDP, state: 'open', aliveSeconds: 119, idleSeconds: 121 },
  { protocol: ICMP, state: 'open', aliveSeconds: 29, idleSeconds: 31 },
] as const)('protocol $protocol, $state', ({ protocol, state, aliveSeconds, idleSeconds }) => {
  const flow = { protocol, state: NAT_STATES.indexOf(state) };
  expect(isIdle({ ...flow, idleNs: aliveSeconds * 1e9 })).toBe(false);
  expect(isIdle({ ...flow, idleNs: idleSeconds * 1e9 })).toBe(true);
});

test('the program finds a class’s seconds by class and state', () => {
  const flat = flattenIdleSeconds(LINUX_IDLE_SECONDS);
  expect(flat).toHaveLength(12);
  expect(flat[1 * NAT_STATES.length + NAT_STATES.indexOf('open')]).toBe(120);
});
