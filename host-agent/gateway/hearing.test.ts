import { expect, it } from 'vitest';
import { wordOfFailure } from './hearing.ts';

it.each([
  ['ECONNREFUSED', 'away'],
  ['ECONNRESET', 'away'],
  ['EHOSTUNREACH', 'silent'],
  ['ETIMEDOUT', 'silent'],
])('%s: the acting gateway is %s', (code, word) => {
  expect(wordOfFailure(Object.assign(new Error('it failed'), { code }))).toBe(word);
});

it('an answer that is nonsense comes from a machine that is there', () => {
  expect(wordOfFailure(new SyntaxError('no JSON'))).toBe('away');
});
