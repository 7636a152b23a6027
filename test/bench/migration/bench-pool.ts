/** The pool of the small image that set-up prepared on this machine. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';

/** Throws, saying what to do, when there is none. */
export function readBenchPool(homeDir: string): PoolSpec {
  const [path] = globSync(join(homeDir, 'artifacts/pools/small-*.json'));
  if (path === undefined) throw new Error('There is no small image yet: run "npm run setup".');
  return PoolSpec.parse(JSON.parse(readFileSync(path, 'utf8')));
}

/**
 * Under software emulation a guest has no less, in one block: QEMU cannot tell what such a guest writes
 * to a DIMM that was plugged.
 */
export const GUEST_MIB = 4096;
