/** This node's WireGuard key pair. The private half is a file of the agent's folder and goes nowhere else. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileDurably } from '../../journal/durable-file.ts';

const KEY_FILE = 'wireguard.key.pem';

export interface WireguardKeys {
  /** Base64, as `wg` reads it. */
  readonly privateKey: string;
  readonly publicKey: string;
}

const PrivateJwk = z.object({ d: z.string().length(43), x: z.string().length(43) });

/** Made at the first call (0600), read back at later ones. */
export async function ensureWireguardKeys(agentDir: string): Promise<WireguardKeys> {
  const path = join(agentDir, KEY_FILE);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text !== undefined) return describeKeys(createPrivateKey(text));
  const { privateKey } = generateKeyPairSync('x25519');
  await writeFileDurably(path, String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
  return describeKeys(privateKey);
}

function describeKeys(key: KeyObject): WireguardKeys {
  const { d } = PrivateJwk.parse(key.export({ format: 'jwk' }));
  const { x } = PrivateJwk.pick({ x: true }).parse(createPublicKey(key).export({ format: 'jwk' }));
  const toBase64 = (text: string) => Buffer.from(text, 'base64url').toString('base64');
  return { privateKey: toBase64(d), publicKey: toBase64(x) };
}
