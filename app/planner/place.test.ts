import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Capacity } from '../../host-agent/protocol/host-facts.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { openPlacement } from './place.ts';

const sizes: fc.Arbitrary<Capacity> = fc.record({
  vcpus: fc.integer({ min: 1, max: 8 }),
  memoryMib: fc.integer({ min: 1, max: 8 }).map((gib) => gib * 1024),
  diskGib: fc.constantFrom(10, 20, 40),
});

const NOTHING = { jobs: [], vms: [], migrations: [], wishes: [], leftCopies: [] };

describe('openPlacement', () => {
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
