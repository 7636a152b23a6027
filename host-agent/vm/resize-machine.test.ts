import { expect, test } from 'vitest';
import type { InstanceClass } from '../protocol/instance-class.ts';
import type { CpuSlot } from './growth.ts';
import { largerOf, planFurtherGrowth } from './resize-machine.ts';
import { templateShape } from './template-shape.ts';

const GIB = 1024 ** 3;
const shape = templateShape({ accelerator: 'kvm', cpuModel: 'Nehalem' });
const CLASS: InstanceClass = { vcpus: 2, memoryMib: 1024, diskGib: 8, arch: 'x64' };
const cpu = (core: number) => ({ driver: 'Nehalem-x86_64-cpu', props: { 'core-id': core } });

/** Its first CPU, and the one that it was grown by. */
const slots: CpuSlot[] = Array.from({ length: 4 }, (_, core) => ({
  type: 'Nehalem-x86_64-cpu',
  props: { 'core-id': core },
  ...(core < 2 ? { 'qom-path': `/machine/${core}` } : {}),
}));
const machine = { plugged: { cpus: [cpu(1)], dimmsMib: [512] }, diskBytes: 8 * GIB };

const plan = (change: Partial<InstanceClass>, over: Partial<typeof shape> = {}) =>
  planFurtherGrowth({
    ...{ shape: { ...shape, ...over }, class: { ...CLASS, ...change }, machine, slots },
  });

test('what it has already is not plugged again, and its disk stays', () => {
  expect(plan({})).toEqual({ kind: 'grow', cpus: [], dimmMib: 0, diskBytes: 8 * GIB });
  expect(plan({ vcpus: 1, memoryMib: 512 })).toMatchObject({ cpus: [], dimmMib: 0 });
});

test('what it lacks is plugged beside it', () => {
  expect(plan({ vcpus: 4, memoryMib: 2048 })).toMatchObject({
    cpus: [cpu(2), cpu(3)],
    dimmMib: 1024,
  });
});

test.each([
  ['more CPUs than the template takes', plan({ vcpus: 17 })],
  ['more CPUs than there are places', plan({ vcpus: 6 })],
  ['more memory than the template takes', plan({ memoryMib: 65 * 1024 })],
  ['a DIMM where all slots are taken', plan({ memoryMib: 2048 }, { memorySlots: 1 })],
])('%s is refused', (_what, planned) => {
  expect(planned.kind).toBe('refused');
});

test('the larger of two sizes has as much of each as either', () => {
  const other = { ...CLASS, vcpus: 1, memoryMib: 4096 };
  expect(largerOf(CLASS, other)).toEqual({ ...CLASS, vcpus: 2, memoryMib: 4096 });
});
