import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { readJoinToken } from './join-token.ts';

it('takes the token as it is, or from standard input without its line end', async () => {
  expect(await readJoinToken('architect_x', Readable.from(['other']))).toBe('architect_x');
  expect(await readJoinToken('-', Readable.from(['archi', 'tect_x\n']))).toBe('architect_x');
});

it('does not read without end', async () => {
  const endless = Readable.from(['a'.repeat(4_096), 'a']);
  await expect(readJoinToken('-', endless)).rejects.toThrow('no token');
});
