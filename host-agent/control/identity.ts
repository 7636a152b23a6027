/**
 * The host's own identity: a key pair that never leaves it, and the certificate that the control
 * plane gave for it. Files of the agent's folder, 0600, written atomically and synced: a host that
 * loses them needs a new enrolment token.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileDurably } from '../journal/durable-file.ts';
import { HostId } from '../protocol/ids.ts';
import { EnrolmentError } from './control-errors.ts';

export const IDENTITY_FILE = 'identity.json';

const Identity = z.object({
  hostId: HostId,
  /** The control plane's agent endpoint, from the enrolment token. */
  url: z.url({ protocol: /^https$/ }),
  caPem: z.string(),
  certificatePem: z.string(),
  privateKeyPem: z.string(),
});
export type Identity = Readonly<z.infer<typeof Identity>>;

/** Undefined when this host was never enrolled. Throws EnrolmentError when the file is no identity. */
export async function readIdentity(agentDir: string): Promise<Identity | undefined> {
  const path = join(agentDir, IDENTITY_FILE);
  const text = await readFile(path, 'utf8').catch(absent);
  if (text === undefined) return undefined;
  try {
    return Identity.parse(JSON.parse(text));
  } catch {
    throw new EnrolmentError(
      `${path} is not a host's identity. Remove it and enrol this host with a new token.`,
    );
  }
}

export async function writeIdentity(agentDir: string, identity: Identity): Promise<void> {
  await mkdir(agentDir, { recursive: true, mode: 0o755 });
  await writeFileDurably(join(agentDir, IDENTITY_FILE), JSON.stringify(identity));
}

function absent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}
