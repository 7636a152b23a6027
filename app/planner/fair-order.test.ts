import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { admitJobs } from './admit-jobs.ts';
import { fairOrder } from './fair-order.ts';
import { job, SHARE, vm } from './moves-world.ts';
import type { JobShare, ObservedJob } from './observed.ts';

const queued = (n: number, share: Partial<JobShare> = {}, over: Partial<ObservedJob> = {}) =>
  job(n, { state: 'queued', vmId: undefined, share: { ...SHARE, ...share }, ...over });
const running = (n: number, share: Partial<JobShare> = {}) =>
  job(n, { share: { ...SHARE, ...share } });
const idsOf = (jobs: readonly ObservedJob[]) => jobs.map(({ id }) => Number(id));

describe('fairOrder', () => {
  it.each([
    ['oldest first', [queued(2), queued(1)], [1, 2]],
    ['organisations in turn', [queued(1), queued(2), queued(3, { owner: 'b' })], [1, 3, 2]],
    ['repositories in turn', [queued(1), queued(2), queued(3, { repo: 'b' })], [1, 3, 2]],
    ['who has less running first', [running(9), queued(1), queued(2, { owner: 'b' })], [2, 1]],
    [
      'priority before all',
      [queued(1), queued(2, { priority: 1 }), queued(3, { owner: 'b' })],
      [2, 3, 1],
    ],
    [
      'names as GitHub takes them',
      [queued(1), queued(2, { owner: 'ACME' }), queued(3, { owner: 'b' })],
      [1, 3, 2],
    ],
  ] as const)('%s', (_, jobs, ids) => {
    expect(idsOf(fairOrder(jobs))).toEqual(ids);
  });

  it('lets ten thousand jobs of one organisation delay no other by more than one place', () => {
    const flood = Array.from({ length: 10_000 }, (_, n) => queued(n + 1));
    const order = idsOf(fairOrder([...flood, queued(20_000, { owner: 'b' })]));
    expect(order.indexOf(20_000)).toBe(1);
  });

  it('gives each organisation its share of any beginning of the line', () => {
    const owners = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 60 });
    fc.assert(
      fc.property(owners, (given) => {
        const order = fairOrder(given.map((owner, n) => queued(n, { owner })));
        const left = Map.groupBy(order, ({ share }) => share.owner);
        const served = new Map<string, number>();
        for (const { share } of order) {
          const mine = served.get(share.owner) ?? 0;
          for (const [owner, all] of left) {
            const theirs = served.get(owner) ?? 0;
            if (theirs < all.length) expect(mine).toBeLessThanOrEqual(theirs);
          }
          served.set(share.owner, mine + 1);
        }
      }),
    );
  });
});

describe('admitJobs', () => {
  const cap = (maxVms: number, key = 'k') => ({ caps: [{ key, maxVms, name: key }] });
  const waiting = (n: number) => vm(n, { phase: 'idle', runsJob: undefined });

  it.each([
    ['as many as the cap has room for', [queued(1, cap(1)), queued(2, cap(1))], [], [1]],
    ['running ones count', [running(9, cap(1)), queued(1, cap(1))], [], []],
    ['one that has a VM keeps it', [running(9, cap(1)), queued(1, cap(1))], [waiting(1)], [1]],
    ['and counts before older ones', [queued(1, cap(1)), queued(2, cap(1))], [waiting(2)], [2]],
    [
      'a VM that ended counts for nobody',
      [queued(1, cap(1)), queued(2, cap(1))],
      [vm(2, { phase: 'failed' })],
      [1],
    ],
    [
      'caps do not touch others',
      [queued(1, cap(0)), queued(2, cap(5, 'other')), queued(3)],
      [],
      [2, 3],
    ],
    ['none: the class is closed', [queued(1, cap(0))], [], []],
  ] as const)('%s', (_, jobs, vms, ids) => {
    const { admitted, held } = admitJobs({ jobs, vms });
    expect(idsOf(admitted)).toEqual(ids);
    const kept = jobs.filter(
      ({ id, state }) => state === 'queued' && !idsOf(admitted).includes(Number(id)),
    );
    expect([...held.keys()]).toEqual(kept.map(({ id }) => id));
  });

  it('never admits more than any cap, whatever runs', () => {
    const share = fc.record({ key: fc.constantFrom('a', 'b'), maxVms: fc.constantFrom(2, 3) });
    const any = fc.record({ isRunning: fc.boolean(), share });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 30 }), (given) => {
        const caps = { a: 2, b: 3 };
        const jobs = given.map(({ isRunning, share: { key } }, n) => {
          const own = cap(key === 'a' ? caps.a : caps.b, key);
          return isRunning ? running(n, own) : queued(n, own);
        });
        const { admitted } = admitJobs({ jobs, vms: [] });
        for (const [key, maxVms] of Object.entries(caps)) {
          const has = (one: ObservedJob) => one.share.caps[0]?.key === key;
          const atWork = jobs.filter((one) => one.state === 'in-progress' && has(one)).length;
          expect(admitted.filter(has).length).toBeLessThanOrEqual(Math.max(0, maxVms - atWork));
        }
      }),
    );
  });
});
