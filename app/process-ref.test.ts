import { expect, test } from 'vitest';
import { parseStat } from './process-ref.ts';

const tail = 'S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1000';

test.each([
  ['a plain name', `77 (redis-server) ${tail}`, '4242'],
  ['a name with brackets and spaces', `77 (a) b (c) ${tail}`, '4242'],
  ['a zombie', `77 (redis-server) ${tail.replace('S', 'Z')}`, undefined],
  ['nonsense', 'nonsense', undefined],
])('the start time of a process with %s', (_name, stat, startTime) => {
  expect(parseStat(stat)?.startTime).toBe(startTime);
});
