import { expect, test } from 'vitest';
import { chooseCapacity } from './choose-capacity.ts';

test('a configured size stands, the disk is measured', () => {
  const machine = { cpus: 2, memoryMib: 4096, diskFreeGib: 100 };
  const configured = { vcpus: 4, memoryMib: 8192 };
  expect(chooseCapacity(machine, configured)).toEqual({ vcpus: 4, memoryMib: 8192, diskGib: 90 });
});

test.each([
  [4096, 3072],
  [65_536, 58_982],
  [512, 0],
])('of %i MiB the reserve leaves %i', (memoryMib, left) => {
  expect(chooseCapacity({ cpus: 2, memoryMib, diskFreeGib: 0.5 }, undefined)).toEqual({
    vcpus: 2,
    memoryMib: left,
    diskGib: 0,
  });
});
