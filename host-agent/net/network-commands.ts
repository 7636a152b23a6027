/** The thin door to `ip`, `nft` and `sysctl`: input on standard input, a limit on time, typed errors. */
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa, type Options } from 'execa';
import { z } from 'zod';
import { NetworkCommandError } from './net-errors.ts';

const COMMAND_TIMEOUT_MS = 10_000;
/** A namespace's own, as its processes see it. */
const IPV6_SETTINGS = '/proc/sys/net/ipv6/conf';
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

const LinkList = z.array(
  z.object({ ifname: z.string().optional(), ifalias: z.string().optional() }),
);
export type Link = Readonly<z.infer<typeof LinkList>[number]>;

/** Runs `ip -batch -`, in `netns` or in the caller's namespace. Stops at the first failing line. */
export async function runIpBatch(batch: string, netns?: string): Promise<void> {
  const inside = netns === undefined ? [] : ['-n', netns];
  await run('ip', [...inside, '-batch', '-'], { input: batch });
}

/** As `tryIpBatch`, in the caller's namespace; what names no address is about IPv6. */
export async function tryIpBatch6(batch: string): Promise<void> {
  await run('ip', ['-6', '-force', '-batch', '-'], { input: batch, reject: false });
}

/** As `runIpBatch`, but attempts every line and ignores those that fail. */
export async function tryIpBatch(batch: string, netns?: string): Promise<void> {
  const inside = netns === undefined ? [] : ['-n', netns];
  await run('ip', [...inside, '-force', '-batch', '-'], { input: batch, reject: false });
}

/** Loads a ruleset as one transaction: all of it or none. */
export async function loadRuleset(ruleset: string, netnsPath?: string): Promise<void> {
  await runInside(netnsPath, 'nft', ['-f', '-'], ruleset);
}

/** IPv4; in a VM's namespace both, where the kernel has both. */
export async function enableForwarding(netnsPath?: string): Promise<void> {
  const ipv6 = netnsPath === undefined ? [] : ['net.ipv6.conf.all.forwarding=1'];
  await runInside(netnsPath, 'sysctl', ['-qew', 'net.ipv4.ip_forward=1', ...ipv6]);
}

/** Whether the kernel has IPv6 at all. */
export function hasIpv6(): boolean {
  return existsSync(IPV6_SETTINGS);
}

/**
 * IPv6, in the caller's namespace. A router takes no advertisements of others unless it is told to
 * (`accept_ra` 2), and its own default route may come from there: devices that take them go on.
 */
export async function enableForwarding6(): Promise<void> {
  for (const device of await readdir(IPV6_SETTINGS)) {
    const setting = join(IPV6_SETTINGS, device, 'accept_ra');
    // A device may be gone meanwhile.
    const value = await readFile(setting, 'utf8').catch(() => '');
    if (value.trim() === '1') await writeFile(setting, '2').catch(() => undefined);
  }
  await writeFile(join(IPV6_SETTINGS, 'all/forwarding'), '1');
}

/** Of one link: packets pass although the way back is another one (loose reverse-path check). */
export async function loosenReversePath(link: string): Promise<void> {
  await run('sysctl', ['-qw', `net.ipv4.conf.${link}.rp_filter=2`], {});
}

/** Links of the caller's namespace. */
export async function listLinks(): Promise<readonly Link[]> {
  const text = await run('ip', ['-j', 'link', 'show'], {});
  return LinkList.parse(JSON.parse(text === '' ? '[]' : text));
}

/** What `ip` or `nft` prints, in `netns` or in the caller's namespace. */
export async function readNetwork(
  command: 'ip' | 'nft',
  args: readonly string[],
  netnsPath?: string,
): Promise<string> {
  if (netnsPath === undefined) return await run(command, args, {});
  return await run('nsenter', [`--net=${netnsPath}`, command, ...args], {});
}

async function runInside(
  netnsPath: string | undefined,
  command: string,
  args: readonly string[],
  input = '',
): Promise<void> {
  if (netnsPath === undefined) await run(command, args, { input });
  else await run('nsenter', [`--net=${netnsPath}`, command, ...args], { input });
}

async function run(command: string, args: readonly string[], options: Options): Promise<string> {
  try {
    const { stdout } = await execa(command, args, {
      timeout: COMMAND_TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT_BYTES,
      ...options,
    });
    return typeof stdout === 'string' ? stdout : '';
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new NetworkCommandError(`${command} failed: ${said}`, { cause });
  }
}
