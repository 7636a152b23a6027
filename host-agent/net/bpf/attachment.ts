/**
 * Hangs programs on devices: clsact, ingress, by `tc`. A program lives as long as its filter. It has
 * a pin only while `tc` looks for it.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { NetworkCommandError } from '../net-errors.ts';
import { pinAt } from './pins.ts';

const COMMAND_TIMEOUT_MS = 10_000;
const Links = z.array(z.object({ ifname: z.string(), ifindex: z.int() }));

export interface Attachment {
  readonly device: string;
  readonly program: number;
}

/** In place of what hangs there, without a gap. `netnsPath` undefined: the caller's namespace. */
export async function attach(where: {
  readonly attachments: readonly Attachment[];
  readonly pinFolder: string;
  readonly netnsPath: string | undefined;
}): Promise<void> {
  const pins = where.attachments.map(({ device, program }) => {
    const path = join(where.pinFolder, `attach-${randomUUID()}`);
    pinAt(path, program);
    return { device, path };
  });
  const batch = pins.flatMap(({ device, path }) => [
    `qdisc replace dev ${device} clsact`,
    `filter replace dev ${device} ingress prio 1 handle 1 bpf da object-pinned ${path}`,
  ]);
  try {
    await run(where.netnsPath, 'tc', ['-batch', '-'], `${batch.join('\n')}\n`);
  } finally {
    for (const { path } of pins) rmSync(path, { force: true });
  }
}

/** Idempotent: a device that is gone, or has no program, is passed over. */
export async function detach(
  devices: readonly string[],
  netnsPath: string | undefined,
): Promise<void> {
  const batch = devices.map((device) => `qdisc del dev ${device} clsact\n`).join('');
  const [command, args] = inside(netnsPath, 'tc', ['-force', '-batch', '-']);
  await execa(command, args, { input: batch, reject: false, timeout: COMMAND_TIMEOUT_MS });
}

/** Interface indexes by name. NetworkCommandError when one is missing. */
export async function readIndexes<N extends string>(
  names: readonly N[],
  netnsPath: string | undefined,
): Promise<Readonly<Record<N, number>>>;
export async function readIndexes(
  names: readonly string[],
  netnsPath: string | undefined,
): Promise<Readonly<Record<string, number>>> {
  const links = Links.parse(JSON.parse(await run(netnsPath, 'ip', ['-j', 'link', 'show'], '')));
  const indexes = new Map(links.map(({ ifname, ifindex }) => [ifname, ifindex]));
  return Object.fromEntries(
    names.map((name) => {
      const index = indexes.get(name);
      if (index === undefined) {
        throw new NetworkCommandError(`There is no interface ${name} in ${netnsPath ?? 'here'}.`);
      }
      return [name, index];
    }),
  );
}

async function run(
  netnsPath: string | undefined,
  command: string,
  args: readonly string[],
  input: string,
): Promise<string> {
  const [program, all] = inside(netnsPath, command, args);
  try {
    return (await execa(program, all, { input, timeout: COMMAND_TIMEOUT_MS })).stdout;
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new NetworkCommandError(`${command} failed: ${said}`, { cause });
  }
}

/** By nsenter: `ip netns exec` would hide the pins' file system. */
function inside(
  netnsPath: string | undefined,
  command: string,
  args: readonly string[],
): readonly [string, readonly string[]] {
  if (netnsPath === undefined) return [command, args];
  return ['nsenter', [`--net=${netnsPath}`, command, ...args]];
}
