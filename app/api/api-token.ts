/** The bearer token of the API: one file (0600) in the data folder, made once. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { link, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { readIfThere, writeDurably } from '../durable-file.ts';

const TOKEN_BYTES = 32;
const MIN_TOKEN_LENGTH = 16;

export class ApiTokenError extends ArchitectError {
  readonly code = 'API_TOKEN';
  readonly retry = 'never';
}

/** Reads the token, making it first where there is none; of two makers one wins, for both. Throws ApiTokenError. */
export async function ensureApiToken(dataDir: string): Promise<string> {
  const path = join(dataDir, 'api-token');
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const known = await readIfThere(path);
  if (known !== undefined) return checked(known.trim(), path);
  try {
    await writeDurably(draft, `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`);
    await link(draft, path).catch(ignoreExisting);
  } finally {
    await rm(draft, { force: true });
  }
  return checked((await readFile(path, 'utf8')).trim(), path);
}

/** An empty one would be anybody's. */
function checked(token: string, path: string): string {
  if (token.length >= MIN_TOKEN_LENGTH) return token;
  throw new ApiTokenError(`${path} holds no token. Delete it and start again: a new one is made.`);
}

/** Constant in time, whatever was presented. */
export function isAuthorized(header: string | undefined, token: string): boolean {
  return timingSafeEqual(sha256(header ?? ''), sha256(`Bearer ${token}`));
}

function ignoreExisting(error: unknown): void {
  if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return;
  throw error;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
