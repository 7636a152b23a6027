/**
 * The machine's `net.ipv4.ip_forward`, which an uplink needs. Where it was off, a marker under /run
 * says so, and the last fleet to go turns it off again.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './commands.ts';
import { RUN_DIR } from './local-names.ts';

const SYSCTL = '/proc/sys/net/ipv4/ip_forward';
const MARKER = join(RUN_DIR, 'ip-forward-was-off');

export async function enableForwarding(): Promise<void> {
  if ((await readFile(SYSCTL, 'utf8')).trim() === '1') return;
  await mkdir(RUN_DIR, { recursive: true });
  await writeFile(MARKER, '');
  await writeFile(SYSCTL, '1');
}

/** Leaves it on while any fleet's table is there, or when this program did not turn it on. */
export async function restoreForwarding(): Promise<void> {
  if (!existsSync(MARKER)) return;
  const tables = await runCommand('nft', ['list', 'tables', 'inet'], { mayFail: true });
  if (/^table inet ar-/m.test(tables)) return;
  await writeFile(SYSCTL, '0');
  await rm(MARKER, { force: true });
}
