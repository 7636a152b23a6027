import { expect, test } from 'vitest';
import { REQUEST_TIMEOUT_MS } from '../protocol/messages.ts';
import { LEASE_MS, LEASE_RENEWAL_MS } from '../protocol/token-messages.ts';
import { bindLease, firstLease, leaseAllows, runTimeLeftMs } from './run-lease.ts';

const lease = bindLease({ untilMs: 1_000 }, { wallMs: 400, monotonicMs: 7_000 });

test.each([
  ['in its time', 900, 7_500, 100],
  ['at its end', 1_000, 7_600, 0],
  ['with the wall clock set back', 100, 7_600, 0],
  ['with the wall clock set forward', 5_000, 7_001, -4_000],
])('a lease %s', (_, wallMs, monotonicMs, leftMs) => {
  expect(runTimeLeftMs(lease, { wallMs, monotonicMs })).toBe(leftMs);
  expect(leaseAllows(lease, { wallMs, monotonicMs })).toBe(leftMs > 0);
});

test('without a lease the guest may run on', () => {
  expect(leaseAllows(null, { wallMs: 9e12, monotonicMs: 9e12 })).toBe(true);
});

test('a first lease ends before the one that the control plane counts from its request on', () => {
  const sentMs = 1_000_000;
  const arrivedMs = sentMs + REQUEST_TIMEOUT_MS;
  expect(firstLease(arrivedMs).untilMs).toBeLessThanOrEqual(sentMs + LEASE_MS);
  expect(firstLease(sentMs).untilMs).toBeGreaterThan(sentMs + LEASE_RENEWAL_MS);
});
