import { expect, it } from 'vitest';
import { Silence } from './silence.ts';

function silent(): Silence {
  const silence = new Silence();
  for (let n = 0; n < 3; n += 1) silence.note(false, n);
  return silence;
}

it('lets every call through until three in a row had no answer', () => {
  const silence = new Silence();
  for (const wasAnswered of [false, false, true, false, false]) {
    expect(silence.admit(0)).toBe(true);
    silence.note(wasAnswered, 0);
  }
  expect([silence.admit(0), silence.admit(0)]).toEqual([true, true]);
});

it('then lets one at a time find out, a second after the last', () => {
  const silence = silent();
  expect(silence.admit(1_001)).toBe(false);
  expect([silence.admit(1_002), silence.admit(1_002)]).toEqual([true, false]);
  silence.note(false, 1_500);
  expect([silence.admit(2_499), silence.admit(2_500)]).toEqual([false, true]);
});

it('lets all through again after one answer', () => {
  const silence = silent();
  expect(silence.admit(5_000)).toBe(true);
  silence.note(true, 5_010);
  expect([silence.admit(5_010), silence.admit(5_010)]).toEqual([true, true]);
});
