import { expect, test } from 'vitest';
import { IdleCores } from './idle-cores.ts';

function makeHost() {
  let [upS, idleS] = [1_000, 3_000];
  const idle = new IdleCores(() => `${upS.toFixed(2)} ${idleS.toFixed(2)}\n`);
  const pass = (seconds: number, idleCores: number) => {
    upS += seconds;
    idleS += seconds * idleCores;
  };
  return { idle, pass };
}

test('on average since the reset, of all cores', () => {
  const { idle, pass } = makeHost();
  pass(1, 4);
  idle.reset();
  pass(0.3, 1);
  pass(0.1, 3);
  expect(idle.read()).toBeCloseTo(1.5);
});

test('too soon it says nothing', () => {
  const { idle, pass } = makeHost();
  pass(0.05, 2);
  expect(idle.read()).toBeUndefined();
});

test('a kernel that does not say it is no error', () => {
  expect(new IdleCores(() => '').read()).toBeUndefined();
});
