import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import {
  type Decision,
  type Evacuation,
  type LeavingVm,
  MOVE_OVERHEAD_MS,
  planCopy,
  planEvacuation,
  SAFETY_MS,
  type Target,
} from './evacuate.ts';

const MB = 1_000_000;
const LINK = 100 * MB;

function vm(name: string, change: Partial<LeavingVm> = {}): LeavingVm {
  return {
    id: VmId.parse(name),
    class: { vcpus: 1, memoryMib: 1024, diskGib: 10, arch: 'x64' },
    bytesLeft: 100 * MB,
    bytesInStore: 0,
    dirtyBytesPerSecond: 0,
    hasJob: true,
    ...change,
  };
}

function target(name: string, change: Partial<Target> = {}): Target {
  const free = { vcpus: 16, memoryMib: 65_536, diskGib: 1_000 };
  return { id: HostId.parse(name), free, bytesPerSecond: LINK, ...change };
}

function plan(change: Partial<Evacuation>): readonly Decision[] {
  return planEvacuation({
    vms: [],
    targets: [],
    sourceBytesPerSecond: LINK,
    deadlineMs: 30_000,
    nowMs: 0,
    ...change,
  });
}

describe('one VM', () => {
  test('moves to the only host', () => {
    const [only] = plan({ vms: [vm('a')], targets: [target('t')] });
    expect(only).toEqual({
      kind: 'move',
      vmId: 'a',
      to: 't',
      startsAtMs: 0,
      endsAtMs: 1_000 + MOVE_OVERHEAD_MS,
      cpuShare: 1,
    });
  });

  test('without a job is stopped', () => {
    expect(plan({ vms: [vm('a', { hasJob: false })], targets: [target('t')] })).toEqual([
      { kind: 'stop', vmId: 'a' },
    ]);
  });

  test.each([
    ['vcpus', { vcpus: 0, memoryMib: 65_536, diskGib: 1_000 }],
    ['memory', { vcpus: 16, memoryMib: 1_023, diskGib: 1_000 }],
    ['disk', { vcpus: 16, memoryMib: 65_536, diskGib: 9 }],
  ])('is parked where no host has the %s', (_what, free) => {
    const [only] = plan({ vms: [vm('a')], targets: [target('t', { free })] });
    expect(only).toMatchObject({ kind: 'park', why: 'no host has room for it' });
  });

  test('goes where its link is the fastest', () => {
    const slow = target('a', { bytesPerSecond: LINK / 10 });
    const [only] = plan({ vms: [vm('a')], targets: [slow, target('b')] });
    expect(only).toMatchObject({ kind: 'move', to: 'b' });
  });

  test('that writes faster than the link is slowed down', () => {
    const [only] = plan({
      vms: [vm('a', { dirtyBytesPerSecond: 2 * LINK })],
      targets: [target('t')],
    });
    expect(only).toMatchObject({ kind: 'move', cpuShare: 0.25 });
  });

  test('that would have to stand nearly still is parked', () => {
    const [only] = plan({
      vms: [vm('a', { dirtyBytesPerSecond: 20 * LINK })],
      targets: [target('t')],
    });
    expect(only).toMatchObject({ kind: 'park' });
  });

  test('too large for the time is told so, with what lacks', () => {
    const [only] = plan({ vms: [vm('a', { bytesLeft: 5_000 * MB })], targets: [target('t')] });
    expect(only).toMatchObject({ kind: 'too-late', why: expect.stringMatching(/lacks \d+ ms$/) });
  });

  test('whose cold bytes are in the store needs the target link alone for them', () => {
    const copy = { bytesLeft: 10 * MB, bytesInStore: 990 * MB, dirtyBytesPerSecond: 0 };
    const speed = planCopy(copy, { rate: LINK, storeRate: 10 * LINK });
    expect(speed).toEqual({ copyMs: 1_000, cpuShare: 1 });
  });
});

describe('several VMs', () => {
  test('eight of half a gigabyte, half of it in the store, leave within 30 s', () => {
    const vms = Array.from({ length: 8 }, (_, index) =>
      vm(`vm-${index}`, { bytesLeft: 100 * MB, bytesInStore: 100 * MB }),
    );
    const targets = [target('a'), target('b')];
    expect(plan({ vms, targets }).map(({ kind }) => kind)).toEqual(Array(8).fill('move'));
  });

  test('the quickest go first', () => {
    const vms = [vm('slow', { bytesLeft: 900 * MB }), vm('quick', { bytesLeft: MB })];
    expect(plan({ vms, targets: [target('t')] }).map(({ vmId }) => vmId)).toEqual([
      'quick',
      'slow',
    ]);
  });

  test('a target takes no more than it has room for', () => {
    const free = { vcpus: 1, memoryMib: 1_024, diskGib: 10 };
    const decisions = plan({ vms: [vm('a'), vm('b')], targets: [target('t', { free })] });
    expect(decisions.map(({ kind }) => kind)).toEqual(['move', 'park']);
  });
});

const anyVm = fc.record({
  bytesLeft: fc.integer({ min: 0, max: 4_000 * MB }),
  bytesInStore: fc.integer({ min: 0, max: 4_000 * MB }),
  dirtyBytesPerSecond: fc.integer({ min: 0, max: 3 * LINK }),
  hasJob: fc.boolean(),
});
const anyTarget = fc.record({
  free: fc.record({
    vcpus: fc.integer({ min: 0, max: 4 }),
    memoryMib: fc.integer({ min: 0, max: 4_096 }),
    diskGib: fc.integer({ min: 0, max: 40 }),
  }),
  bytesPerSecond: fc.integer({ min: 0, max: 2 * LINK }),
});
const anyEvacuation = fc
  .record({
    vms: fc.array(anyVm, { maxLength: 12 }),
    targets: fc.array(anyTarget, { maxLength: 4 }),
    sourceBytesPerSecond: fc.integer({ min: 0, max: 2 * LINK }),
    deadlineMs: fc.integer({ min: 0, max: 120_000 }),
  })
  .map(({ vms, targets, ...rest }) => ({
    ...rest,
    nowMs: 0,
    vms: vms.map((change, index) => vm(`vm-${index}`, change)),
    targets: targets.map((change, index) => target(`t-${index}`, change)),
  }));

test('property: each VM gets one decision, in time, on a host with room', () => {
  fc.assert(
    fc.property(anyEvacuation, (evacuation) => {
      const decisions = planEvacuation(evacuation);
      expect(decisions.map(({ vmId }) => vmId).toSorted()).toEqual(
        evacuation.vms.map(({ id }) => id).toSorted(),
      );
      let freeAtMs = evacuation.nowMs;
      for (const decision of decisions) {
        if (decision.kind !== 'move' && decision.kind !== 'park') continue;
        expect(decision.startsAtMs).toBe(freeAtMs);
        expect(decision.endsAtMs).toBeLessThanOrEqual(evacuation.deadlineMs - SAFETY_MS);
        freeAtMs = decision.endsAtMs;
      }
      for (const { id, free } of evacuation.targets) {
        const here = decisions.filter((decision) => decision.kind === 'move' && decision.to === id);
        expect(here.length).toBeLessThanOrEqual(Math.min(free.vcpus, free.memoryMib / 1_024));
      }
    }),
  );
});

test('property: the order in which VMs and hosts were observed changes nothing', () => {
  fc.assert(
    fc.property(anyEvacuation, (evacuation) => {
      const turned = {
        ...evacuation,
        vms: evacuation.vms.toReversed(),
        targets: evacuation.targets.toReversed(),
      };
      const inOrder = (decisions: readonly Decision[]) =>
        decisions.toSorted((a, b) => (a.vmId < b.vmId ? -1 : 1));
      expect(inOrder(planEvacuation(turned))).toEqual(inOrder(planEvacuation(evacuation)));
    }),
  );
});
