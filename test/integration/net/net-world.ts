/**
 * A small world of namespaces, all the test's own:
 *
 *   guest ns ─ tap cable ─ VM ns ═ host ns ═ world ns (the outside, and all that is forbidden)
 *                                    ╚═ gateway ns ═╝ , of a switch of that make, if one is given
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
const UNDERLAY = { host: '100.100.0.2', gateway: '100.100.0.1' } as const;
const PUBLIC = '192.0.2.10';

/** Of the switch's parts, and with them of the guard. */
export type Make = 'kernel' | 'bpf';
const Outcomes = z.record(z.string(), z.string());

type Program = ReturnType<typeof startProgram>;

export interface NetWorld {
  readonly fleet: string;
  /** For open-where.ts. */
  readonly where: string;
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

export async function createNetWorld(
  worldAddresses: readonly string[],
  make?: Make,
): Promise<NetWorld> {
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
  const where = JSON.stringify({ fleet, ...(make === undefined ? {} : { make, ...UNDERLAY }) });
  const runAgent = async (...args: readonly string[]) => {
    const program = nodeProgram('host-program.ts', where, ...args);
    return JSON.parse((await inside(host, program)).stdout);
  };

  await build({ host, world, worldAddresses });
  const gateway = `ar-${fleet}-gateway`;
  if (make !== undefined) await buildGateway({ gateway, host, world });
  await start(world, nodeProgram('greeter.ts'));
  await start(host, nodeProgram('greeter.ts'));
  return {
    fleet,
    where,
    host,
    world,
    ensure: async (vmIds, allow = '') => {
      const networks = z.array(VmNetwork).parse(await runAgent(allow, 'ensure', ...vmIds));
      const guests = networks.map(({ guestAddress }) => guestAddress);
      if (make !== undefined) {
        await start(gateway, nodeProgram('gateway-program.ts', where, PUBLIC, ...guests));
      }
      return networks;
    },
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

async function buildGateway(names: {
  readonly gateway: string;
  readonly host: string;
  readonly world: string;
}): Promise<void> {
  const { gateway, host, world } = names;
  const run = (netns: string, lines: readonly string[]) =>
    execa('ip', ['-n', netns, '-batch', '-'], { input: lines.map((one) => `${one}\n`).join('') });
  await execa('ip', ['netns', 'add', gateway]);
  await run(gateway, [
    'link set lo up',
    `link add under0 type veth peer name under0 netns ${host}`,
    `link add out0 type veth peer name down1 netns ${world}`,
    `addr add ${UNDERLAY.gateway}/24 dev under0`,
    `addr add ${PUBLIC}/24 dev out0`,
    'link set under0 up',
    'link set out0 up',
    'route add default via 192.0.2.1',
  ]);
  await run(host, [`addr add ${UNDERLAY.host}/24 dev under0`, 'link set under0 up']);
  await run(world, ['addr add 192.0.2.1/24 dev down1', 'link set down1 up']);
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
