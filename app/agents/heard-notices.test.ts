import { expect, it } from 'vitest';
import type { HostNotice } from '../../host-agent/protocol/host-notice.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import type { FleetHost } from '../reconciler/ports.ts';
import { HeardNotices } from './heard-notices.ts';

const NAME = 'i-0123456789abcdef0';

function notice(over: Partial<HostNotice> = {}): HostNotice {
  return { kind: 'interruption', deadlineMs: 121_000, source: 'ec2', seenAtMs: 1_000, ...over };
}

function host(said: HostNotice | null): FleetHost {
  return {
    ...{ id: HostId.parse('host-a'), hostname: NAME, state: 'connected', stateSinceMs: 0 },
    ...{ turnedAwayWhy: undefined, facts: undefined },
    report: { type: 'report', seq: 1, sentAtMs: 0, artifacts: [], vms: [], notice: said },
  };
}

const HINT = notice({ kind: 'rebalance', deadlineMs: null });

it.each([
  ['the host says nothing yet', null, notice(), notice()],
  ['only the host has heard it', notice(), undefined, notice()],
  ['the host has a hint, its cloud the decision', HINT, notice(), notice()],
  ['the host has the decision, its cloud a hint', notice(), HINT, notice()],
  [
    'both name an end: the earlier counts',
    notice({ deadlineMs: 119_000 }),
    notice(),
    notice({ deadlineMs: 119_000 }),
  ],
])('%s', (_, said, heard, counts) => {
  const notices = new HeardNotices();
  if (heard !== undefined) notices.note(NAME, heard);
  expect(notices.addTo(host(said)).report?.notice).toEqual(counts);
});

it('tells what is new from what comes again, and forgets what can matter no more', () => {
  const notices = new HeardNotices();
  expect(notices.note(NAME, HINT)).toBe(true);
  expect(notices.note(NAME, { ...HINT, seenAtMs: 2_000 })).toBe(false);
  expect(notices.note(NAME, notice())).toBe(true);
  expect(notices.note(NAME, HINT)).toBe(false);
  notices.note('another', notice({ seenAtMs: 3_602_000 }));
  expect(notices.addTo(host(null)).report?.notice).toBeNull();
});

it('is bounded', () => {
  const notices = new HeardNotices();
  for (let n = 0; n <= 10_000; n += 1) notices.note(`host-${n}`, notice());
  notices.note(NAME, notice());
  expect(notices.addTo({ ...host(null), hostname: 'host-0' }).report?.notice).toBeNull();
  expect(notices.addTo(host(null)).report?.notice).toEqual(notice());
});
