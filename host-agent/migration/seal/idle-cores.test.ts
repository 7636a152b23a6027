import { expect, test } from 'vitest';
import { IdleCores } from './idle-cores.ts';

function hostOf(cores: number) {
  const host = { nowMs: 0, idleMs: 0 };
  const times = { user: 0, nice: 0, sys: 0, irq: 0 };
  const idle = new IdleCores({
    cpus: () =>
      Array.from({ length: cores }, () => ({ times: { ...times, idle: host.idleMs / cores } })),
    now: () => host.nowMs,
  });
  const pass = (ms: number, idleCores: number) => {
    host.nowMs += ms;
    host.idleMs += ms * idleCores;
  };
  return { idle, pass };
}

test('on average since the reset, of all cores', () => {
  const { idle, pass } = hostOf(4);
  pass(1_000, 4);
  idle.reset();
  pass(300, 1);
  pass(100, 3);
  expect(idle.read()).toBeCloseTo(1.5);
});

test('too soon it says nothing', () => {
  const { idle, pass } = hostOf(2);
  pass(50, 2);
  expect(idle.read()).toBeUndefined();
});
