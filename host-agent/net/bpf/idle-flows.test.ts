import { expect, test } from 'vitest';
import { NAT_STATES } from './abi.ts';
import { flattenIdleSeconds, LINUX_IDLE_SECONDS } from './idle-flows.ts';

test('the program finds a class’s seconds by class and state', () => {
  const flat = flattenIdleSeconds(LINUX_IDLE_SECONDS);
  expect(flat).toHaveLength(12);
  expect(flat[1 * NAT_STATES.length + NAT_STATES.indexOf('open')]).toBe(120);
});
