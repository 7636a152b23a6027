import fc from 'fast-check';
import { expect, test } from 'vitest';
import { POOL } from '../../test/fixtures/protocol.ts';
import { VmId } from '../protocol/ids.ts';
import type { StartVm } from '../protocol/messages.ts';
import { judgeShape, planStart, type StartSituation } from './plan-start.ts';

const size = { vcpus: 2, memoryMib: 2048, diskGib: 10, arch: 'x64' } as const;
const request: StartVm = { kind: 'start-vm', vmId: VmId.parse('vm-1'), class: size, pool: POOL };
const roomy: StartSituation = {
  acquaintance: { kind: 'unknown' },
  pool: POOL,
  capacity: { vcpus: 4, memoryMib: 8192, diskGib: 100 },
  held: [],
  reported: 0,
};

test.each<[string, Partial<StartSituation>, string]>([
  ['an empty host', {}, 'start'],
  ['a host that is just full after it', { held: [size] }, 'start'],
  ['the same request again', { acquaintance: { kind: 'known', class: size } }, 'already'],
  [
    'the same request again on a full host',
    { acquaintance: { kind: 'known', class: size }, held: [size, size] },
    'already',
  ],
  [
    'the same id with another class',
    { acquaintance: { kind: 'known', class: { ...size, vcpus: 4 } } },
    'refused',
  ],
  ['a VM that ended here before', { acquaintance: { kind: 'forgotten' } }, 'refused'],
  ['a host that was not admitted', { pool: undefined }, 'refused'],
  ['a host of another template', { pool: { ...POOL, template: POOL.image } }, 'refused'],
  ['too few vCPUs', { held: [{ ...size, vcpus: 3 }] }, 'refused'],
  ['too little memory', { held: [{ ...size, memoryMib: 6145 }] }, 'refused'],
  ['too little disk', { held: [{ ...size, diskGib: 91 }] }, 'refused'],
  ['a full report', { reported: 500 }, 'refused'],
])('%s', (_name, part, kind) => {
  expect(planStart(request, { ...roomy, ...part }).kind).toBe(kind);
});

test('a refusal for room says what is taken', () => {
  const decision = planStart(request, { ...roomy, held: [{ ...size, vcpus: 3 }] });
  expect(decision).toMatchObject({ why: expect.stringContaining('2 vCPUs (3 of 4 are taken)') });
});

test('started VMs never exceed the capacity, in any order of sizes', () => {
  const classes = fc.array(
    fc.record({
      vcpus: fc.integer({ min: 1, max: 4 }),
      memoryMib: fc.integer({ min: 256, max: 8192 }),
      diskGib: fc.integer({ min: 1, max: 60 }),
      arch: fc.constant('x64' as const),
    }),
  );
  fc.assert(
    fc.property(classes, (wanted) => {
      const held: (typeof wanted)[number][] = [];
      for (const next of wanted) {
        const decision = planStart({ ...request, class: next }, { ...roomy, held });
        if (decision.kind === 'start') held.push(next);
      }
      const sum = (of: 'vcpus' | 'memoryMib' | 'diskGib') =>
        held.reduce((total, each) => total + each[of], 0);
      expect(sum('vcpus')).toBeLessThanOrEqual(4);
      expect(sum('memoryMib')).toBeLessThanOrEqual(8192);
      expect(sum('diskGib')).toBeLessThanOrEqual(100);
    }),
  );
});

const shape = {
  machineType: 'pc-q35-8.2',
  accelerator: 'tcg',
  cpuModel: 'qemu64',
  vcpus: 1,
  maxVcpus: 8,
  memoryMib: 512,
  maxMemoryMib: 32_768,
  memorySlots: 16,
} as const;

test.each([
  [{ vcpus: 1, memoryMib: 512 }, true],
  [{ vcpus: 8, memoryMib: 32_768 }, true],
  [{ vcpus: 9, memoryMib: 512 }, false],
  [{ vcpus: 1, memoryMib: 33_000 }, false],
  [{ vcpus: 1, memoryMib: 256 }, true],
])('a template of 1–8 vCPUs and up to 32768 MiB becomes %o: %s', (part, fits) => {
  expect(judgeShape({ ...size, ...part }, shape) === undefined).toBe(fits);
});
