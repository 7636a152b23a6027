import { expect, test } from 'vitest';
import { CLASS, pool } from '../../test/fixtures/protocol.ts';
import { judgeMachine, MachineFacts } from './machine-facts.ts';

const here = { pool: pool(), class: CLASS };
const other = `sha256:${'c'.repeat(64)}`;

function facts(over: Partial<Parameters<typeof pool>[0]> = {}, size = {}): MachineFacts {
  return MachineFacts.parse({
    pool: pool(over),
    class: { ...CLASS, ...size },
    machine: {
      generationId: '3f2504e0-4f89-41d3-9a0c-0305e82c3301',
      plugged: { dimmsMib: [], cpus: [] },
      diskBytes: 1024,
    },
    guestAddress: '100.64.1.2',
    life: {
      state: { phase: 'idle' },
      guestKernel: null,
      times: {
        ...{ decidedAtMs: 1, spawnedAtMs: 2, qmpReadyAtMs: 3 },
        ...{ loadedAtMs: 4, guestAnsweredAtMs: 5, idleAtMs: 6 },
      },
      runnerStartedAtMs: null,
    },
  });
}

test('a machine of the same pool and class fits', () => {
  expect(judgeMachine(facts(), here)).toBeUndefined();
});

test.each<[string, MachineFacts, RegExp]>([
  ['CPU model', facts({ cpuModel: 'Nehalem' }), /CPU model is Nehalem, here it is qemu64/],
  ['CPU vendor', facts({ cpuVendor: 'GenuineIntel' }), /CPU vendor is GenuineIntel/],
  ['accelerator', facts({ accelerator: 'kvm' }), /accelerator is kvm/],
  ['machine type', facts({ machineType: 'pc-q35-10.0' }), /machine type is pc-q35-10.0/],
  ['image', facts({ image: other }), /image is sha256:c/],
  ['template', facts({ template: other }), /template is sha256:c/],
  ['memory', facts({}, { memoryMib: 8192 }), /memory is 8192, here it is 4096/],
  ['disk', facts({}, { diskGib: 21 }), /disk is 21/],
  ['vCPUs', facts({}, { vcpus: 4 }), /vCPUs is 4/],
])('one with another %s is refused, and why is told', (_what, machine, why) => {
  expect(judgeMachine(machine, here)).toMatchObject({
    kind: 'refused',
    why: expect.stringMatching(why),
  });
});

test('under PVM nothing moves', () => {
  const pvm = { pool: pool({ accelerator: 'pvm' }), class: CLASS };
  expect(judgeMachine(facts({ accelerator: 'pvm' }), pvm)).toMatchObject({ kind: 'refused' });
});
