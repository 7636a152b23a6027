/**
 * A gateway, two hosts and a peer in namespaces of the test's own, real packets among them:
 *
 *   peer ── out0 gateway ══ fabric ══ host 0 ── link up0 VM 0 tap0 ─┐
 *                             ╚═══════ host 1 ── link up0 VM 1 tap0 ─┴ moving cable ─ eth0 guest
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { type BpfGateway, openBpfGateway } from '../../../../host-agent/net/bpf/gateway-switch.ts';
import { type BpfHost, openBpfHost } from '../../../../host-agent/net/bpf/host-switch.ts';
import { NEVER, PRIVATE } from '../../../../host-agent/net/guest-policy.ts';
import { vmNumber, vniOf } from '../../../../host-agent/net/vni.ts';
import { GUEST_MAC } from './packets.ts';

export const GUEST = '10.201.3.4';
export const NUMBER = vmNumber(GUEST);
export const PUBLIC = '203.0.113.10';
export const PEER = '203.0.113.1';
export const FORBIDDEN = '169.254.169.254';
export const UNDERLAY = { gateway: '100.64.0.1', hosts: ['100.64.0.2', '100.64.0.3'] } as const;
export const SERVICE = { protocol: 'tcp', publicPort: 80, guestPort: 7_000 } as const;
const OUTSIDE_MAC = '02:00:cb:00:00:0a';
const PEER_MAC = '02:00:cb:00:00:01';

type HostIndex = 0 | 1;
type Program = ReturnType<typeof startProgram>;

export interface SwitchWorld {
  readonly gateway: BpfGateway;
  readonly hosts: readonly [BpfHost, BpfHost];
  readonly netns: Readonly<Record<'peer' | 'gateway' | 'guest' | 'host0' | 'host1', string>>;
  /** Starts a program in a namespace and waits for its first line. */
  start(
    netns: string,
    program: string,
    ...args: readonly string[]
  ): Promise<{ readonly child: Program }>;
  /** Runs a program in a namespace to its end, and gives what it printed. */
  run(netns: string, program: string, ...args: readonly string[]): Promise<string>;
  /** The whole switch-over, in the order of a migration. */
  move(to: HostIndex, epoch: number): Promise<void>;
  /** As `move`, given up when the guest stands still: all is taken back, in the order of a migration. */
  giveUpMove(to: HostIndex, epoch: number): Promise<void>;
  reopenGateway(): Promise<void>;
  destroy(): Promise<void>;
}

export function seatAt(host: HostIndex, epoch: number) {
  return { host: UNDERLAY.hosts[host], vni: vniOf({ number: NUMBER, epoch }) };
}

export async function createSwitchWorld(): Promise<SwitchWorld> {
  const id = `sw${randomBytes(3).toString('hex')}`;
  const named = (role: string) => `ar-${id}-${role}`;
  const netns = {
    peer: named('peer'),
    gateway: named('gateway'),
    guest: named('guest'),
    host0: named('host0'),
    host1: named('host1'),
  };
  const running: Program[] = [];
  const start = async (where: string, program: string, ...args: readonly string[]) => {
    const child = startProgram(where, [process.execPath, pathOf(program), ...args]);
    running.push(child);
    await nextLine(child);
    return { child };
  };
  const opened: { destroy(): Promise<void> }[] = [];
  const destroy = async () => {
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(running);
    await Promise.all(opened.map((one) => one.destroy()));
    await removeNamespaces(id);
  };
  try {
    await build(netns, named);
    const cable = startProgram(netns.host0, [
      'perl',
      pathOf('moving-cable.pl'),
      ...[netns.guest, named('vm0'), named('vm1')].map((name) => `/run/netns/${name}`),
    ]);
    running.push(cable);
    await nextLine(cable);
    await dressGuest(netns.guest);
    const openGateway = () =>
      openBpfGateway({
        underlay: UNDERLAY.gateway,
        vxlan: 'ar-vxlan',
        outside: 'out0',
        publicAddress: PUBLIC,
        mtu: 1450,
        netnsPath: `/run/netns/${netns.gateway}`,
      });
    const openHost = async (n: HostIndex) => {
      const host = await openBpfHost({
        underlay: UNDERLAY.hosts[n],
        vxlan: 'ar-vxlan',
        netnsPath: `/run/netns/${netns[`host${n}`]}`,
        guard: { reach: { never: NEVER, allow: [], private: PRIVATE, dns: [] } },
      });
      opened.push(host);
      return host;
    };
    let gateway = await openGateway();
    opened.push({ destroy: () => gateway.destroy() });
    const hosts = [await openHost(0), await openHost(1)] as const;
    let at: HostIndex = 0;
    let heldIn = 1;
    await hosts[0].ensureVm(vmAt(0, 1, named));
    const settleAt = (host: HostIndex, epoch: number) => {
      const seat = seatAt(host, epoch);
      return gateway.ensureVm({ number: NUMBER, guestAddress: GUEST, seat, ports: [SERVICE] });
    };
    await settleAt(0, 1);
    /** Until the guest stands still. */
    const sendTo = async (to: HostIndex, epoch: number) => {
      const stragglersFrom = UNDERLAY.hosts[at];
      await hosts[to].ensureVm({ ...vmAt(to, epoch, named), stragglersFrom });
      await gateway.flip(NUMBER, seatAt(to, epoch));
      await hosts[at].forwardTo(NUMBER, seatAt(to, epoch));
      await tell(cable, 'stop');
    };
    return {
      get gateway() {
        return gateway;
      },
      hosts,
      netns,
      start,
      run: async (where, program, ...args) => {
        const command = program.endsWith('.pl') ? 'perl' : process.execPath;
        return (await startProgram(where, [command, pathOf(program), ...args])).stdout;
      },
      move: async (to, epoch) => {
        await sendTo(to, epoch);
        await tell(cable, `run ${to}`);
        await settleAt(to, epoch);
        [at, heldIn] = [to, epoch];
      },
      giveUpMove: async (to, epoch) => {
        await sendTo(to, epoch);
        await gateway.flip(NUMBER, seatAt(at, heldIn));
        await hosts[at].ensureVm(vmAt(at, heldIn, named));
        await hosts[to].removeVm(NUMBER);
        await tell(cable, `run ${at}`);
        await settleAt(at, heldIn);
      },
      reopenGateway: async () => {
        gateway.close();
        gateway = await openGateway();
      },
      destroy,
    };
  } catch (error) {
    await destroy();
    throw error;
  }
}

function vmAt(host: HostIndex, epoch: number, named: (role: string) => string) {
  return {
    vni: seatAt(host, epoch).vni,
    guestAddress: GUEST,
    gateway: UNDERLAY.gateway,
    link: 'link0',
    inside: {
      netnsPath: `/run/netns/${named(`vm${host}`)}`,
      guestMac: GUEST_MAC,
    },
  };
}

async function build(netns: SwitchWorld['netns'], named: (role: string) => string): Promise<void> {
  const fabric = named('fabric');
  const all = [...Object.values(netns), fabric, named('vm0'), named('vm1')];
  await ipBatch(all.map((name) => `netns add ${name}`));
  await ipBatch(['link set lo up', 'link add br0 type bridge', 'link set br0 up'], fabric);
  await joinFabric(netns.gateway, UNDERLAY.gateway, fabric);
  for (const host of [0, 1] as const) {
    await joinFabric(netns[`host${host}`], UNDERLAY.hosts[host], fabric);
    await ipBatch(
      [
        `link add link0 mtu 1500 type veth peer name up0 mtu 1500 netns ${named(`vm${host}`)}`,
        'link set link0 up',
      ],
      netns[`host${host}`],
    );
    await ipBatch(
      ['link set up0 up', 'tuntap add dev tap0 mode tap', 'link set tap0 txqueuelen 10000 up'],
      named(`vm${host}`),
    );
  }
  await joinOutside(netns);
}

async function joinOutside({ gateway, peer }: SwitchWorld['netns']): Promise<void> {
  await ipBatch(
    [
      `link add out0 address ${OUTSIDE_MAC} type veth peer name net0 address ${PEER_MAC} netns ${peer}`,
      `addr add ${PUBLIC}/24 dev out0`,
      'link set out0 up',
      `neigh add ${PEER} lladdr ${PEER_MAC} dev out0 nud permanent`,
    ],
    gateway,
  );
  await ipBatch(
    [
      'link set lo up',
      `addr add ${PEER}/24 dev net0`,
      `addr add ${FORBIDDEN}/32 dev lo`,
      'link set net0 up',
      `neigh add ${PUBLIC} lladdr ${OUTSIDE_MAC} dev net0 nud permanent`,
    ],
    peer,
  );
}

async function joinFabric(netns: string, address: string, fabric: string): Promise<void> {
  const port = `p${address.split('.').at(-1)}`;
  const others = [UNDERLAY.gateway, ...UNDERLAY.hosts].filter((other) => other !== address);
  const neighbours = others.map(
    (other) => `neigh add ${other} lladdr ${underlayMac(other)} dev under0 nud permanent`,
  );
  await ipBatch(
    [
      'link set lo up',
      `link add under0 address ${underlayMac(address)} type veth peer name ${port} netns ${fabric}`,
      `addr add ${address}/24 dev under0`,
      'link set under0 up',
      'link add ar-vxlan type vxlan external dstport 4789',
      'link set ar-vxlan up',
      ...neighbours,
    ],
    netns,
  );
  await ipBatch([`link set ${port} master br0 up`], fabric);
}

/** By number: nothing waits for ARP, which is not what is tested. */
function underlayMac(address: string): string {
  return `02:00:64:00:00:0${address.split('.').at(-1)}`;
}

async function dressGuest(guest: string): Promise<void> {
  await ipBatch(
    [
      'link set lo up',
      `link set eth0 address ${GUEST_MAC} mtu 1450 txqueuelen 10000 up`,
      `addr add ${GUEST}/32 dev eth0`,
      'route add 169.254.1.1/32 dev eth0',
      `route add default via 169.254.1.1 dev eth0 src ${GUEST}`,
    ],
    guest,
  );
}

async function removeNamespaces(id: string): Promise<void> {
  const { stdout } = await execa('ip', ['netns', 'list']);
  const names = stdout.split('\n').map((line) => line.split(' ')[0] ?? '');
  for (const name of names.filter((one) => one.startsWith(`ar-${id}-`))) {
    await execa('ip', ['netns', 'del', name], { reject: false });
  }
}

async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  const inside = netns === undefined ? [] : ['-n', netns];
  await execa('ip', [...inside, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

function startProgram(netns: string, command: readonly string[]) {
  return execa('nsenter', [`--net=/run/netns/${netns}`, ...command], { reject: false });
}

export async function nextLine(child: Program): Promise<string> {
  const lines = createInterface({ input: child.stdout });
  const ended = child.then(({ stderr }) => {
    throw new Error(`a test program ended too soon: ${stderr}`);
  });
  const [line] = await Promise.race([once(lines, 'line'), ended]);
  lines.close();
  return String(line);
}

async function tell(child: Program, command: string): Promise<void> {
  const answered = nextLine(child);
  child.stdin.write(`${command}\n`);
  await answered;
}

function pathOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
