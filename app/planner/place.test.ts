import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import type { ObservedHost } from './observed.ts';
import { openPlacement } from './place.ts';

const sizes: fc.Arbitrary<Capacity> = fc.record({
  vcpus: fc.integer({ min: 1, max: 8 }),
  memoryMib: fc.integer({ min: 1, max: 8 }).map((gib) => gib * 1024),
  diskGib: fc.constantFrom(10, 20, 40),
});

const NOTHING = { jobs: [], vms: [], migrations: [], wishes: [], leftCopies: [] };
const hint = { kind: 'rebalance', deadlineMs: null, source: 'ec2', seenAtMs: 1 } as const;

describe('openPlacement', () => {
  it('uses a host that its cloud may take back only when no other has room', () => {
    const size = { vcpus: 2, memoryMib: 1024, diskGib: 10, arch: 'x64' as const };
    const host = (id: string, over: Partial<ObservedHost>): ObservedHost => ({
      id: HostId.parse(id),
      state: 'connected',
      stateSinceMs: 0,
      capacity: { vcpus: 4, memoryMib: 4096, diskGib: 40 },
      templateReady: true,
      notice: undefined,
      drained: false,
      gone: false,
      ...over,
    });
    const tight = { vcpus: 2, memoryMib: 1024, diskGib: 10 };
    const hosts = [
      host('host-1', { notice: hint, capacity: tight }),
      host('host-2', {}),
      host('host-3', { state: 'draining', notice: { ...hint, kind: 'interruption' } }),
    ];
    const placement = openPlacement({ ...NOTHING, hosts }, []);
    const taken = [1, 2, 3, 4].map(() => placement.take(size));
    expect(taken).toEqual(['host-2', 'host-2', 'host-1', undefined]);
  });

  it('gives each VM the tightest host that fits, as a plain search over all hosts would', () => {
    fc.assert(
      fc.property(
        fc.array(sizes, { maxLength: 12 }),
        fc.array(sizes, { maxLength: 20 }),
        (capacities, wanted) => {
          const hosts = capacities.map((capacity, n) => ({
            id: HostId.parse(`host-${String(n).padStart(2, '0')}`),
            state: 'connected' as const,
            stateSinceMs: 0,
            capacity,
            templateReady: true,
            notice: undefined,
            drained: false,
            gone: false,
          }));
          const placement = openPlacement({ ...NOTHING, hosts }, []);
          let free = hosts.map(({ id, capacity }) => ({ id, ...capacity }));
          for (const size of wanted) {
            const [best] = free
              .filter(
                (one) =>
                  one.vcpus >= size.vcpus &&
                  one.memoryMib >= size.memoryMib &&
                  one.diskGib >= size.diskGib,
              )
              .sort(
                (a, b) =>
                  a.vcpus - b.vcpus ||
                  a.memoryMib - b.memoryMib ||
                  a.diskGib - b.diskGib ||
                  (a.id < b.id ? -1 : 1),
              );
            expect(placement.take({ ...size, arch: 'x64' })).toBe(best?.id);
            free = free.map((one) =>
              one.id === best?.id
                ? {
                    ...one,
                    vcpus: one.vcpus - size.vcpus,
                    memoryMib: one.memoryMib - size.memoryMib,
                    diskGib: one.diskGib - size.diskGib,
                  }
                : one,
            );
          }
        },
      ),
    );
  });
});
