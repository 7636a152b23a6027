import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { holdsPrivateKey } from './app-key.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();

test.each([
  ['as GitHub hands it out', pem, true],
  ['a public key', publicKey.export({ type: 'spki', format: 'pem' }).toString(), false],
  ['cut short', pem.slice(0, 400), false],
  ['a path', '/etc/architect/app-key.pem', false],
])('a private key, %s', (_, text, holds) => {
  expect(holdsPrivateKey(text)).toBe(holds);
});
