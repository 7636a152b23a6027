/**
 * A small world of namespaces, all the test's own:
 *
 *   guest ns ─ tap cable ─ VM ns ═ host ns ═ world ns (the outside, and all that is forbidden)
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { z } from 'zod';
import { GUEST_MAC } from '../../../host-agent/protocol/guest-contract.ts';
import { VmNetwork } from '../../../host-agent/vm/vm-driver.ts';

export const WORLD_ADDRESS = '203.0.113.1';
export const HOST_ADDRESS = '203.0.113.2';
const Outcomes = z.record(z.string(), z.string());

type Program = ReturnType<typeof startProgram>;

export interface NetWorld {
  readonly fleet: string;
  /** Networks of these VMs, made by an agent that starts in the host's namespace for it. */
  ensure(vmIds: readonly string[], allow?: string): Promise<readonly VmNetwork[]>;
  retain(vmIds: readonly string[]): Promise<readonly string[]>;
  /** What host-program.ts prints. */
  askHost(command: string, ...vmIds: readonly string[]): Promise<unknown>;
  /** Plugs a guest into the VM's tap. Gives the guest's namespace. */
  plugIn(network: VmNetwork): Promise<string>;
  ip(netns: string, ...args: readonly string[]): Promise<string>;
  probe(netns: string, targets: readonly string[]): Promise<Record<string, string>>;
  /** Sends a datagram to each and answers nothing: whether it came is for `arrived` to say. */
  send(netns: string, text: string, targets: readonly string[]): Promise<void>;
  /** Starts a program of this folder that says when it is ready; it ends with the world. Its pid. */
  start(netns: string, program: string, ...args: readonly string[]): Promise<number>;
  /** Runs a program of this folder to its end; gives what it printed. */
  run(netns: string, program: string, ...args: readonly string[]): Promise<string>;
  /** What datagrams brought to the greeter in this namespace. */
  arrived(netns: string): Promise<readonly string[]>;
  readonly host: string;
  readonly world: string;
  destroy(): Promise<void>;
}

export async function createNetWorld(worldAddresses: readonly string[]): Promise<NetWorld> {
  const fleet = `n${randomBytes(4).toString('hex')}`;
  const host = `ar-${fleet}-host`;
  const world = `ar-${fleet}-world`;
  const running: Program[] = [];
  const start = async (netns: string, command: readonly string[]) => {
    const child = startProgram(netns, command);
    running.push(child);
    await untilReady(child);
    return child.pid ?? 0;
  };
  const runAgent = async (...args: readonly string[]) =>
    JSON.parse((await inside(host, nodeProgram('host-program.ts', fleet, ...args))).stdout);

  await build({ host, world, worldAddresses });
  await start(world, nodeProgram('greeter.ts'));
  await start(host, nodeProgram('greeter.ts'));
  return {
    fleet,
    host,
    world,
    ensure: async (vmIds, allow = '') =>
      z.array(VmNetwork).parse(await runAgent(allow, 'ensure', ...vmIds)),
    askHost: async (command, ...vmIds) => await runAgent('', command, ...vmIds),
    retain: async (vmIds) => z.array(z.string()).parse(await runAgent('', 'retain', ...vmIds)),
    plugIn: async (network) => {
      const vmNetns = network.netnsPath.replace('/run/netns/', '');
      const guest = `${vmNetns}-guest`;
      await execa('ip', ['netns', 'add', guest]);
      await start(vmNetns, ['perl', pathOf('tap-cable.pl'), `/run/netns/${guest}`]);
      await dressGuest(guest, network);
      await start(guest, nodeProgram('greeter.ts'));
      return guest;
    },
    ip: async (netns, ...args) => (await execa('ip', ['-n', netns, ...args])).stdout,
    probe: async (netns, targets) =>
      Outcomes.parse(JSON.parse((await inside(netns, nodeProgram('probe.ts', ...targets))).stdout)),
    send: async (netns, text, targets) => {
      await inside(netns, nodeProgram('send-datagrams.ts', text, ...targets));
    },
    start: (netns, program, ...args) => start(netns, nodeProgram(program, ...args)),
    run: async (netns, program, ...args) =>
      (await inside(netns, nodeProgram(program, ...args))).stdout,
    arrived: async (netns) =>
      (await inside(netns, nodeProgram('read-arrived.ts'))).stdout.split('\n'),
    destroy: async () => {
      for (const child of running) child.kill('SIGKILL');
      await Promise.all(running);
      const { stdout } = await execa('ip', ['netns', 'list']);
      const ours = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
      for (const name of ours.filter((one) => one.startsWith(`ar-${fleet}-`))) {
        await execa('ip', ['netns', 'del', name], { reject: false });
      }
    },
  };
}

async function build({
  host,
  world,
  worldAddresses,
}: {
  host: string;
  world: string;
  worldAddresses: readonly string[];
}): Promise<void> {
  await execa('ip', ['-batch', '-'], {
    input: `netns add ${host}\nnetns add ${world}\n`,
  });
  const addresses = worldAddresses.map((address) => `addr add ${address}/32 dev lo`);
  await execa('ip', ['-n', world, '-batch', '-'], {
    input: [
      'link set lo up',
      `link add down0 type veth peer name up0 netns ${host}`,
      `addr add ${WORLD_ADDRESS}/24 dev down0`,
      'link set down0 up',
      ...addresses,
      `route add 10.201.0.0/16 via ${HOST_ADDRESS}`,
    ]
      .map((line) => `${line}\n`)
      .join(''),
  });
  await execa('ip', ['-n', host, '-batch', '-'], {
    input: `link set lo up\naddr add 169.254.169.254/32 dev lo\naddr add ${HOST_ADDRESS}/24 dev up0
link set up0 up\nroute add default via ${WORLD_ADDRESS}\n`,
  }).catch(async (error: unknown) => {
    await execa('ip', ['netns', 'del', host], { reject: false });
    await execa('ip', ['netns', 'del', world], { reject: false });
    throw error;
  });
}

async function dressGuest(guest: string, { guestAddress, gateway, mtu }: VmNetwork): Promise<void> {
  await execa('ip', ['-n', guest, '-batch', '-'], {
    input: `link set lo up\nlink set eth0 address ${GUEST_MAC} mtu ${mtu} up
addr add ${guestAddress}/32 dev eth0\nroute add ${gateway}/32 dev eth0
route add default via ${gateway} dev eth0 src ${guestAddress}\n`,
  });
}

function startProgram(netns: string, command: readonly string[]) {
  return execa('nsenter', [`--net=/run/netns/${netns}`, ...command], { reject: false });
}

function inside(netns: string, command: readonly string[]) {
  return execa('nsenter', [`--net=/run/netns/${netns}`, ...command], { timeout: 30_000 });
}

function nodeProgram(name: string, ...args: readonly string[]): readonly string[] {
  return [process.execPath, pathOf(name), ...args];
}

function pathOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

async function untilReady(child: Program): Promise<void> {
  const ended = child.then(({ stderr }) => {
    throw new Error(`a test program ended before it was ready: ${stderr}`);
  });
  await Promise.race([once(child.stdout, 'data'), ended]);
}
