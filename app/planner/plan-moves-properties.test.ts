import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MigrationId } from '../../host-agent/protocol/ids.ts';
import { isOpenMove, MovePhase } from '../records/migration-record.ts';
import {
  CLASS,
  host,
  hostId,
  interrupted,
  job,
  move,
  NOW_MS,
  notice,
  planned,
  vm,
  vmId,
  wish,
} from './moves-world.ts';
import type { Observed } from './observed.ts';
import { usedByHost } from './place.ts';
import type { Step } from './step.ts';

const count = 5;
const anyHost = (n: number) =>
  fc
    .record({
      what: fc.constantFrom(
        'stays',
        'stays',
        'interrupted',
        'rebalance',
        'drained',
        'away',
        'gone',
      ),
      vcpus: fc.integer({ min: 0, max: 8 }),
      inMs: fc.constantFrom(0, 5_000, 120_000),
    })
    .map(({ what, vcpus, inMs }) => {
      const capacity = { vcpus, memoryMib: 65_536, diskGib: 1_000 };
      if (what === 'interrupted') return host(n, { capacity, ...interrupted(inMs) });
      if (what === 'rebalance') return host(n, { capacity, notice: notice({ kind: 'rebalance' }) });
      if (what === 'drained') return host(n, { capacity, state: 'draining', drained: true });
      if (what === 'stays') return host(n, { capacity });
      return host(n, { capacity, state: 'away', gone: what === 'gone' });
    });
const anyVm = (n: number) =>
  fc
    .record({
      on: fc.integer({ min: 1, max: count }),
      tracked: fc.boolean(),
      keyed: fc.boolean(),
      rewindable: fc.boolean(),
      lastCheckpointAtMs: fc.constantFrom(undefined, NOW_MS - 5_000),
      lastEpoch: fc.integer({ min: 1, max: 9 }),
      vcpus: fc.integer({ min: 1, max: 3 }),
    })
    .map(({ on, tracked, vcpus, ...over }) =>
      vm(n, {
        ...over,
        hostId: hostId(on),
        class: { ...CLASS, vcpus },
        ...(tracked ? {} : { tracking: undefined }),
      }),
    );
const anyMove = (n: number) =>
  fc.option(
    fc
      .record({
        phase: fc.constantFrom(...MovePhase.options),
        to: fc.integer({ min: 1, max: count }).map(hostId),
        given: fc.boolean(),
        sourceKnows: fc.boolean(),
        startedAtMs: fc.constantFrom(0, NOW_MS),
        attempts: fc.integer({ min: 0, max: 6 }),
      })
      .map((over) => {
        const stored = ['parking', 'parked', 'resuming'].includes(over.phase);
        return move(n, { ...over, kind: stored ? 'park' : 'live' });
      }),
    { nil: undefined },
  );
const numbers = [1, 2, 3, 4, 5];
const anyWorld = fc
  .record({
    hosts: fc.tuple(...numbers.map(anyHost)),
    vms: fc.tuple(...numbers.map(anyVm)),
    moves: fc.tuple(...numbers.map(anyMove)),
    wishes: fc.subarray(numbers),
  })
  .map(({ hosts, vms, moves, wishes }): Observed => {
    const migrations = moves.flatMap((one, n) => {
      const on = vms[n]?.hostId;
      return one === undefined || on === undefined ? [] : [{ ...one, from: on }];
    });
    return {
      ...{ hosts, vms, migrations, leftCopies: [] },
      wishes: wishes.map((n) => wish({ id: MigrationId.parse(`wish-${n}`), vmId: vmId(n) })),
      jobs: numbers.map((n) => job(n, { rewindable: n % 2 === 0 })),
    };
  });

const begins = (step: Step) =>
  step.kind === 'move-vm' || step.kind === 'park-vm' || step.kind === 'resume-vm';

describe('plan, for any world with hosts that go away', () => {
  const holds = (check: (world: Observed, steps: Step[]) => void) =>
    fc.assert(
      fc.property(anyWorld, (world) => check(world, planned(world))),
      { numRuns: 1000 },
    );

  test('a VM has one move at a time, tracked, in an epoch above all earlier ones', () => {
    holds((world, steps) => {
      const open = new Map(world.migrations.filter(isOpenMove).map((one) => [one.vmId, one]));
      const begun = steps.filter(begins);
      expect(new Set(begun.map((step) => ('vmId' in step ? step.vmId : '')))).toHaveProperty(
        'size',
        begun.length,
      );
      for (const step of begun) {
        if (!('epoch' in step)) continue;
        const its = world.vms.find(({ id }) => id === step.vmId);
        if (step.kind === 'resume-vm' && open.has(step.vmId)) {
          expect(open.get(step.vmId)?.id).toBe(step.migrationId);
          continue;
        }
        expect(open.has(step.vmId)).toBe(false);
        expect(step.epoch).toBeGreaterThan(its?.lastEpoch ?? 0);
        expect(step.from).toBe(its?.hostId);
        expect(its?.keyed).toBe(true);
        if (step.kind !== 'resume-vm') expect(its?.tracking).toBeDefined();
      }
    });
  });

  test('no host is sent more than it has room for, and none that goes away is sent anything', () => {
    holds((world, steps) => {
      const used = usedByHost(world);
      for (const { id, capacity, state, notice: its, drained } of world.hosts) {
        const fresh = steps.flatMap((step) => {
          const arrives = step.kind === 'move-vm' || step.kind === 'resume-vm';
          const again = world.migrations.some(
            ({ phase, vmId: of }) => 'vmId' in step && of === step.vmId && phase === 'resuming',
          );
          return arrives && step.to === id && !again ? [step.vmId] : [];
        });
        if (fresh.length === 0) continue;
        expect(state).toBe('connected');
        expect([its, drained]).toEqual([undefined, false]);
        const vcpus = fresh.reduce(
          (sum, one) => sum + (world.vms.find((of) => of.id === one)?.class.vcpus ?? 0),
          0,
        );
        expect(vcpus + (used.get(id)?.vcpus ?? 0)).toBeLessThanOrEqual(capacity.vcpus);
      }
    });
  });

  test('nothing is aborted once its token is given, and only who can be reached is asked', () => {
    holds((world, steps) => {
      const reachable = new Set(
        world.hosts.filter(({ state }) => state !== 'away').map(({ id }) => id),
      );
      for (const step of steps) {
        if (step.kind === 'abort-migration') {
          const its = world.migrations.find(({ id }) => id === step.migrationId);
          expect(its).toMatchObject({ given: false });
          expect(its?.phase).not.toBe('committed');
          for (const id of [step.source, step.target])
            if (id !== undefined) expect(reachable).toContain(id);
        }
        if (step.kind === 'move-vm' || step.kind === 'park-vm')
          expect(reachable).toContain(step.from);
      }
    });
  });

  test('the order of observation changes nothing', () => {
    holds((world, steps) => {
      const turned = {
        ...{ ...world, hosts: world.hosts.toReversed(), vms: world.vms.toReversed() },
        ...{ migrations: world.migrations.toReversed(), wishes: world.wishes.toReversed() },
      };
      expect(planned(turned)).toEqual(steps);
    });
  });
});
