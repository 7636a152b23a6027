/** Hangs programs on devices: clsact, ingress, by `tc`. A program lives as long as its filter. */
import { execa } from 'execa';
import { z } from 'zod';
import { NetworkCommandError } from '../net-errors.ts';
import { withPins } from './pin-file-system.ts';

const COMMAND_TIMEOUT_MS = 10_000;
const Links = z.array(z.object({ ifname: z.string(), ifindex: z.int() }));

const Filters = z.array(
  z.object({ options: z.object({ prog: z.object({ id: z.int() }) }).optional() }),
);

export interface Attachment {
  readonly device: string;
  readonly program: number;
}

/** In place of what hangs there, without a gap. `netnsPath` undefined: the caller's namespace. */
export async function attach(
  attachments: readonly Attachment[],
  netnsPath: string | undefined,
): Promise<void> {
  const programs = attachments.map(({ program }) => program);
  await withPins(programs, async (paths) => {
    const batch = attachments.flatMap(({ device }, n) => [
      `qdisc replace dev ${device} clsact`,
      `filter replace dev ${device} ingress prio 1 handle 1 bpf da object-pinned ${paths[n]}`,
    ]);
    await run(netnsPath, 'tc', ['-batch', '-'], `${batch.join('\n')}\n`);
  });
}

/** The id of the program that hangs on a device; undefined: none, or there is no such device. */
export async function findProgram(
  device: string,
  netnsPath: string | undefined,
): Promise<number | undefined> {
  const args = ['-j', 'filter', 'show', 'dev', device, 'ingress'];
  const [command, all] = inside(netnsPath, 'tc', args);
  const { stdout } = await execa(command, all, { reject: false, timeout: COMMAND_TIMEOUT_MS });
  const filters = Filters.safeParse(stdout === '' ? [] : JSON.parse(stdout));
  return filters.data?.find(({ options }) => options !== undefined)?.options?.prog.id;
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

/** By nsenter: `ip netns exec` would hide /sys. */
function inside(
  netnsPath: string | undefined,
  command: string,
  args: readonly string[],
): readonly [string, readonly string[]] {
  if (netnsPath === undefined) return [command, args];
  return ['nsenter', [`--net=${netnsPath}`, command, ...args]];
}
