import { expect, test } from 'vitest';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { ERA, epochOfRewind, LEASE_MS } from '../../host-agent/protocol/token-messages.ts';
import { judgeClaim, judgeLease, judgeRewind, LEASE_MARGIN_MS } from './rewind.ts';

const [a, b] = [HostId.parse('a'), HostId.parse('b')];
const base = {
  leaseUntilMs: 1_000,
  notedSinceMs: 0,
  holders: [a, b],
  gone: new Set<HostId>(),
  nowMs: 1_000,
};
const wait = { kind: 'wait', untilMs: 1_000 + LEASE_MARGIN_MS };

test.each([
  ['waits while a lease may run', base, wait],
  ['waits out skew and stop', { ...base, nowMs: 1_000 + LEASE_MARGIN_MS }, wait],
  ['goes after them', { ...base, nowMs: 1_001 + LEASE_MARGIN_MS }, { kind: 'rewind' }],
  ['goes when every holder is gone', { ...base, gone: new Set([a, b]) }, { kind: 'rewind' }],
  ['waits when one of them is not', { ...base, gone: new Set([a]) }, wait],
  [
    'waits when the holders are forgotten',
    { ...base, holders: undefined, gone: new Set([a]) },
    wait,
  ],
  ['waits when there are none', { ...base, holders: [] }, wait],
  [
    'waits for the longest lease when it is forgotten',
    { ...base, leaseUntilMs: undefined, holders: undefined },
    { kind: 'wait', untilMs: LEASE_MS + LEASE_MARGIN_MS },
  ],
])('a rewind %s', (_, situation, judgement) => {
  expect(judgeRewind(situation)).toEqual(judgement);
});

test('a lease goes to the era of the claim, however far its moves went', () => {
  const claim = { epoch: epochOfRewind(5), hostId: b };
  expect(claim.epoch).toBe(ERA);
  const ask = { hostId: a, claim, nowMs: 10 };
  expect(judgeLease({ ...ask, epoch: 500 })).toEqual({ kind: 'overtaken', below: ERA });
  expect(judgeLease({ ...ask, epoch: ERA + 3 })).toMatchObject({ kind: 'grant' });
  expect(judgeLease({ ...ask, epoch: 500, claim: undefined })).toMatchObject({ kind: 'grant' });
});

test('one rewind is claimed once', () => {
  const claim = { epoch: ERA, hostId: a };
  expect(judgeClaim(claim, undefined)).toEqual({ kind: 'put' });
  expect(judgeClaim(claim, claim)).toEqual({ kind: 'put' });
  expect(judgeClaim({ epoch: ERA, hostId: b }, claim)).toEqual({ kind: 'overtaken', below: ERA });
  expect(judgeClaim({ epoch: 2 * ERA, hostId: b }, claim)).toEqual({ kind: 'put' });
});
