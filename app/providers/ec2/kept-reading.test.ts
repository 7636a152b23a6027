import { pino } from 'pino';
import { expect, it } from 'vitest';
import { KeptReading } from './kept-reading.ts';

it('reads again when what it has is old, and keeps that when nothing new can be read', async () => {
  let nowMs = 0;
  let answer: number | undefined;
  let reads = 0;
  const kept = new KeptReading({
    what: 'the number',
    read: async () => {
      reads += 1;
      if (answer === undefined) throw new Error('not there');
      return answer;
    },
    ...{ before: 0, keptMs: 100, restMs: 10, now: () => nowMs, logger: pino({ level: 'silent' }) },
  });
  const at = async (ms: number) => {
    nowMs = ms;
    return [await kept.get(), reads];
  };
  expect(await at(0)).toEqual([0, 1]);
  answer = 7;
  expect(await at(9)).toEqual([0, 1]);
  expect(await at(10)).toEqual([7, 2]);
  answer = undefined;
  expect(await at(109)).toEqual([7, 2]);
  expect(await at(110)).toEqual([7, 3]);
  expect(await at(119)).toEqual([7, 3]);
  answer = 8;
  expect(await at(120)).toEqual([8, 4]);
});
