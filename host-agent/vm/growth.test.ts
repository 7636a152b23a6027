import { expect, test } from 'vitest';
import type { InstanceClass } from '../protocol/instance-class.ts';
import { type CpuSlot, planGrowth } from './growth.ts';
import { templateShape } from './template-shape.ts';

const GIB = 1024 ** 3;
const plugged = templateShape({ accelerator: 'kvm', cpuModel: 'Nehalem' });
const offline = templateShape({ accelerator: 'tcg', cpuModel: 'qemu64' });
const smallest: InstanceClass = { vcpus: 1, memoryMib: 512, diskGib: 1, arch: 'x64' };

/** As QEMU lists them: the highest first. */
const slots: CpuSlot[] = Array.from({ length: 16 }, (_, index) => ({
  type: 'Nehalem-x86_64-cpu',
  props: { 'socket-id': 0, 'core-id': 15 - index, 'thread-id': 0 },
  ...(index === 15 ? { 'qom-path': '/machine/unattached/device[0]' } : {}),
}));

function plan(change: Partial<InstanceClass>, shape = plugged) {
  return planGrowth({ shape, class: { ...smallest, ...change }, slots, diskBytes: 2 * GIB });
}

test('the smallest class grows nothing, and no disk ever shrinks', () => {
  expect(plan({})).toEqual({ kind: 'grow', cpus: [], dimmMib: 0, diskBytes: 2 * GIB });
});

test('CPUs are plugged into the lowest free places', () => {
  expect(plan({ vcpus: 3 })).toMatchObject({
    cpus: [{ props: { 'core-id': 1 } }, { props: { 'core-id': 2 } }],
  });
});

test('CPUs that are there but offline are not plugged', () => {
  expect(plan({ vcpus: 3 }, offline)).toMatchObject({ cpus: [] });
});

test.each([
  [513, 128],
  [640, 128],
  [641, 256],
  [8192, 7680],
])('%d MiB need a DIMM of %d MiB', (memoryMib, dimmMib) => {
  expect(plan({ memoryMib })).toMatchObject({ dimmMib });
});

test('the disk grows to the class', () => {
  expect(plan({ diskGib: 40 })).toMatchObject({ diskBytes: 40 * GIB });
});

test.each([
  [{ vcpus: 17 }, /16 CPUs/],
  [{ memoryMib: 65 * 1024 }, /65536 MiB/],
])('%o is refused, saying the limit', (change, why) => {
  expect(plan(change)).toMatchObject({ kind: 'refused', why: expect.stringMatching(why) });
});
