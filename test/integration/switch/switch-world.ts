/**
 * Namespaces of the test's own, with a switch in each host and in the gateway:
 *
 *   guest ═ arv0 ═ host 0 ═ eth0 ═╗
 *     ╚════ arv1 ═ host 1 ═ eth0 ═╬═ br0, gateway ═ out0 ═ outside
 *
 * The guest is on that host whose link its default route takes; what either brings it takes.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { guestAddress6, publicPrefix } from '../../../host-agent/net/guest-ipv6.ts';
import { HOST_TRANSIT6, LINK_MAC, UP_MAC } from '../../../host-agent/net/vm-link-plan6.ts';

export const GUEST = '10.201.0.5';
export const OUTSIDE = '203.0.113.9';
export const OUTSIDE6 = '2001:db8:9::9';
/** The operator's for guests, and the guest's address there. */
const PREFIX6 = '2001:db8:1::/64';
export const PUBLIC6 = publicPrefix(PREFIX6).replace('/96', GUEST);
export const PUBLIC = '203.0.113.1';
const GATEWAY6 = '2001:db8:9::1';
export const GATEWAY = '100.100.0.1';
export const HOSTS = ['100.100.0.2', '100.100.0.3'] as const;
const PLACES = ['guest', 'host0', 'host1', 'gateway', 'outside'];
/** As switch-program.ts has it. */
export type Way = 'kernel' | 'bpf' | 'unloadable';
const ANSWER_LIMIT_MS = 60_000;

export interface Program {
  /** Writes one line, gives the line that it answers with. */
  ask(line: string): Promise<unknown>;
  call(method: string, ...args: readonly unknown[]): Promise<unknown>;
  end(): Promise<void>;
}

export class SwitchWorld {
  readonly #fleet = `s${randomBytes(3).toString('hex')}`;
  readonly #programs: Program[] = [];
  /** Its namespaces. */
  protected readonly places: readonly string[] = PLACES;
  /** Of guests' packets, as vm-link-plan.ts has it. */
  protected readonly mtu: number = 1450;

  static async create(): Promise<SwitchWorld> {
    const world = new SwitchWorld();
    try {
      await world.build();
      return world;
    } catch (error) {
      await world.destroy();
      throw error;
    }
  }

  async gateway(way: Way): Promise<Program> {
    const args = ['gateway', way, this.#fleet, GATEWAY, String(this.mtu), PUBLIC, PREFIX6];
    return await this.start('gateway', ['switch-program.ts', ...args]);
  }

  async host(n: 0 | 1, way: Way): Promise<Program> {
    const args = ['host', way, this.#fleet, HOSTS[n], String(this.mtu)];
    return await this.start(`host${n}`, ['switch-program.ts', ...args]);
  }

  /** Resolves when it says that it is ready. */
  async start(where: string, [script = '', ...args]: readonly string[]): Promise<Program> {
    const path = fileURLToPath(new URL(script, import.meta.url));
    const netns = `--net=${this.netnsPath(where)}`;
    const child = execa('nsenter', [netns, process.execPath, path, ...args], { reject: false });
    const lines = createInterface({ input: child.stdout });
    const next = async (): Promise<unknown> => {
      const limit = AbortSignal.timeout(ANSWER_LIMIT_MS);
      const ended = child.then(({ stderr }) => {
        throw new Error(`${script} ended: ${stderr}`);
      });
      const [line] = await Promise.race([once(lines, 'line', { signal: limit }), ended]);
      return JSON.parse(line);
    };
    const ask = async (line: string) => {
      const answer = next();
      child.stdin.write(`${line}\n`);
      return await answer;
    };
    const program: Program = {
      ask,
      call: (method, ...callArgs) => ask(JSON.stringify([method, ...callArgs])),
      end: async () => {
        child.kill('SIGKILL');
        await child;
      },
    };
    this.#programs.push(program);
    await next();
    return program;
  }

  /** The guest sends by this host from now on. */
  async moveGuest(n: 0 | 1): Promise<void> {
    await this.ip(
      'guest',
      `route replace default via 169.254.2.1 dev up${n} onlink src ${GUEST}`,
      `route replace ::/0 via ${HOST_TRANSIT6} dev up${n} onlink src ${guestAddress6(GUEST)}`,
    );
  }

  async ip(where: string, ...lines: readonly string[]): Promise<void> {
    await execa('ip', ['-n', this.netns(where), '-batch', '-'], {
      input: `${lines.join('\n')}\n`,
    });
  }

  netnsPath(where: string): string {
    return `/run/netns/${this.netns(where)}`;
  }

  /** To its end. */
  async run(where: string, [command = '', ...args]: readonly string[]): Promise<void> {
    await execa('nsenter', [`--net=${this.netnsPath(where)}`, command, ...args]);
  }

  async read(where: string, [command = '', ...args]: readonly string[]): Promise<string> {
    const path = this.netnsPath(where);
    return (await execa('nsenter', [`--net=${path}`, command, ...args])).stdout;
  }

  /** Beyond the outside, nobody is at this address, and packets of more than 1280 bytes do not get there. */
  async addNarrowLink(address: string): Promise<void> {
    await this.run('outside', ['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1']);
    await this.ip(
      'outside',
      'link add far0 mtu 1280 type veth peer name far1',
      'link set far0 up',
      'link set far1 up',
      `route add ${address}/128 dev far0`,
    );
    await this.ip('gateway', `route add ${address}/128 via ${OUTSIDE6}`);
  }

  async destroy(): Promise<void> {
    await Promise.allSettled(this.#programs.map((program) => program.end()));
    for (const where of this.places)
      await execa('ip', ['netns', 'del', this.netns(where)], { reject: false });
  }

  get fleet(): string {
    return this.#fleet;
  }

  protected netns(where: string): string {
    return `ar-${this.#fleet}-${where}`;
  }

  protected async build(): Promise<void> {
    await execa('ip', ['-batch', '-'], {
      input: this.places.map((where) => `netns add ${this.netns(where)}\n`).join(''),
    });
    for (const where of this.places) await this.ip(where, 'link set lo up');
    await this.wire();
    await this.ip(
      'guest',
      `addr add ${GUEST}/32 dev lo`,
      `addr add ${guestAddress6(GUEST)}/128 dev lo`,
    );
    for (const n of [0, 1] as const) await this.#addGuestLink(n);
  }

  /** Between hosts, gateway and outside. */
  protected async wire(): Promise<void> {
    await this.ip(
      'gateway',
      'link add br0 type bridge',
      `addr add ${GATEWAY}/24 dev br0`,
      'link set br0 up',
      `link add out0 type veth peer name eth0 netns ${this.netns('outside')}`,
      `addr add ${PUBLIC}/24 dev out0`,
      `addr add ${GATEWAY6}/64 dev out0 nodad`,
      'link set out0 up',
    );
    await this.ip(
      'outside',
      `addr add ${OUTSIDE}/24 dev eth0`,
      `addr add ${OUTSIDE6}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add ${PREFIX6} via ${GATEWAY6}`,
    );
    for (const n of [0, 1] as const)
      await this.plugIn(`host${n}`, { into: 'gateway', bridge: 'br0', address: HOSTS[n] });
  }

  /** Joins that place's `eth0` to a bridge. */
  protected async plugIn(
    where: string,
    to: {
      readonly into: string;
      readonly bridge: string;
      readonly address: string;
      readonly device?: string;
    },
  ): Promise<void> {
    const { into, bridge, address, device = 'eth0' } = to;
    const port = `${where.slice(0, 8)}-${device}`;
    await this.ip(
      into,
      `link add ${port} type veth peer name ${device} netns ${this.netns(where)}`,
      `link set ${port} master ${bridge} up`,
    );
    await this.ip(where, `addr add ${address}/24 dev ${device}`, `link set ${device} up`);
  }

  async #addGuestLink(n: 0 | 1): Promise<void> {
    await this.ip(
      `host${n}`,
      // The loose reverse-path check wants some way back to whoever sent a straggler.
      `route add default via ${GATEWAY}`,
      // The guest's MTU, as vm-link-plan.ts has it.
      `link add arv${n} address ${LINK_MAC} mtu ${this.mtu} type veth peer name up${n} address ${UP_MAC} mtu ${this.mtu} netns ${this.netns('guest')}`,
      `addr add 169.254.2.1/32 dev arv${n}`,
      `link set arv${n} up`,
    );
    await this.ip(
      'guest',
      `addr add 169.254.2.2/32 dev up${n}`,
      `link set up${n} up`,
      `neigh replace ${HOST_TRANSIT6} lladdr ${LINK_MAC} dev up${n} nud permanent`,
    );
  }
}
