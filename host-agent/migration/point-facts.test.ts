import { expect, test } from 'vitest';
import { POOL } from '../../test/fixtures/protocol.ts';
import { describePoint, judgePoint } from './point-facts.ts';

const machine = {
  pool: JSON.parse(JSON.stringify(POOL)),
  class: { vcpus: 1, memoryMib: 512, diskGib: 1, arch: 'x64' },
  machine: {
    diskBytes: 1_000,
    plugged: { dimmsMib: [], cpus: [] },
    generationId: '3f1c2c1e-6a0e-4c67-9d53-0a8d3a1d0b11',
  },
  guestAddress: '10.0.0.2',
  life: {
    state: { phase: 'idle' },
    guestKernel: null,
    times: {
      decidedAtMs: 1,
      spawnedAtMs: null,
      qmpReadyAtMs: null,
      loadedAtMs: null,
      guestAnsweredAtMs: null,
      idleAtMs: null,
    },
    runnerStartedAtMs: null,
  },
};

function found(epoch: number, isParked: boolean) {
  const facts = describePoint({ machine, ramSectionId: 2, isParked, stoppedAtMs: 5 });
  return { epoch, generation: 1, createdAtMs: 5, facts, diskBytes: 1_000 };
}

test.each<['parked' | 'rewound', number, ReturnType<typeof found> | undefined, string]>([
  ['parked', 2, found(2, true), 'fits'],
  ['parked', 3, found(2, true), 'fits'],
  ['parked', 2, found(3, true), 'refused'],
  ['parked', 2, found(2, false), 'refused'],
  ['parked', 2, undefined, 'refused'],
  ['rewound', 1_000_000, found(3, false), 'fits'],
  ['rewound', 1_000_000, found(3, true), 'fits'],
  ['rewound', 3, found(3, false), 'refused'],
  ['rewound', 2, found(3, false), 'refused'],
  ['parked', 2, { ...found(2, true), facts: { isParked: true } }, 'refused'],
])('%s in epoch %i', (from, epoch, point, kind) => {
  expect(judgePoint(point, { from, epoch }).kind).toBe(kind);
});
