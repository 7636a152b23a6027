/**
 * A world with two gateways that share one public address, and a control plane that the test may ask.
 *
 *   guest ═ host 0, host 1 ═╗            ╔═ gateway  ═╗
 *                  control ═╬═ underlay ═╬═ gateway2 ═╬═ outside net ═ outside
 *
 * Both nets are bridges in a namespace of their own, so that either gateway can be cut off or killed.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { findProgram } from '../../../host-agent/net/bpf/attachment.ts';
import { exportFlows } from '../../../host-agent/net/bpf/flows.ts';
import { openGatewayTables } from '../../../host-agent/net/bpf/gateway-tables.ts';
import { closeMaps } from '../../../host-agent/net/bpf/programs.ts';
import { openMapsOf } from '../../../host-agent/net/bpf/running-maps.ts';
import { TUNNEL_LINK } from '../../../host-agent/net/tunnel.ts';
import { until } from '../local-provider/until.ts';
import {
  GATEWAY,
  HOSTS,
  OUTSIDE,
  type Program,
  PUBLIC,
  SwitchWorld,
  type Way,
} from './switch-world.ts';

export const CONTROL = '100.100.0.250';
const AGENT = fileURLToPath(new URL('../../../host-agent/main.ts', import.meta.url));
export const GATEWAYS = ['gateway', 'gateway2'] as const;
export type GatewayName = (typeof GATEWAYS)[number];
const UNDERLAY = { gateway: GATEWAY, gateway2: '100.100.0.4' } as const;
const OUTER = { gateway: '203.0.113.2', gateway2: '203.0.113.3' } as const;

interface AgentProcess extends PromiseLike<unknown> {
  kill(signal: 'SIGTERM' | 'SIGKILL'): boolean;
}

export class StandbyWorld extends SwitchWorld {
  protected override readonly places = [
    ...['guest', 'host0', 'host1', ...GATEWAYS, 'outside', 'control', 'wire'],
  ];
  readonly #agents = new Map<GatewayName, AgentProcess>();
  #dir = '';
  #control: Program | undefined;

  static async open(): Promise<StandbyWorld> {
    const world = new StandbyWorld();
    try {
      world.#dir = await mkdtemp(join(tmpdir(), 'standby-'));
      await world.build();
      world.#control = await world.start('control', ['standby-control.ts', CONTROL, world.#dir]);
      return world;
    } catch (error) {
      await world.destroy();
      throw error;
    }
  }

  get control(): Program {
    if (this.#control === undefined) throw new Error('there is no control plane');
    return this.#control;
  }

  /** Starts the gateway's agent, anew too; resolves when the control plane has it. */
  async startAgent(name: GatewayName): Promise<void> {
    const token = join(this.#dir, `${name}.token`);
    if (!this.#agents.has(name))
      await writeFile(token, String(await this.control.call('token', 'gateway')), { mode: 0o600 });
    const agent = execa(
      'nsenter',
      [`--net=${this.netnsPath(name)}`, process.execPath, AGENT, '--role', 'gateway'],
      {
        reject: false,
        stdio: ['ignore', 'ignore', 'inherit'],
        env: {
          ARCHITECT_FLEET: this.fleet,
          ARCHITECT_AGENT_DIR: join(this.#dir, name),
          ARCHITECT_AGENT_NAME: name,
          ARCHITECT_AGENT_TOKEN_FILE: token,
          ARCHITECT_LOG_LEVEL: 'silent',
          ARCHITECT_GATEWAY_PUBLIC: PUBLIC,
          ARCHITECT_GATEWAY_OUTSIDE: 'out0',
        },
      },
    );
    this.#agents.set(name, agent);
    await this.untilGateway(name, { state: 'connected' });
  }

  /** Resolves when the control plane sees this of the gateway. */
  async untilGateway(name: GatewayName, wanted: Readonly<Record<string, unknown>>): Promise<void> {
    await until(`${name} to be ${JSON.stringify(wanted)}`, async () => {
      const all = await this.control.call('gateways');
      const one: unknown = Array.isArray(all) ? all.find((it) => it.hostname === name) : undefined;
      if (typeof one !== 'object' || one === null) return undefined;
      const isSo = Object.entries(wanted).every(([key, value]) => Reflect.get(one, key) === value);
      return isSo ? true : undefined;
    });
  }

  async endAgent(name: GatewayName, signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    const agent = this.#agents.get(name);
    agent?.kill(signal);
    await agent;
  }

  /** As if its power was cut: nothing of it is heard any more. */
  async cut(name: GatewayName): Promise<void> {
    await this.ip(name, 'link set eth0 down', 'link set out0 down');
  }

  async mend(name: GatewayName): Promise<void> {
    await this.ip(name, 'link set eth0 up', 'link set out0 up');
  }

  /** Resolves when the gateway's programs know as many flows of guests. */
  async untilFlows(name: GatewayName, count: number): Promise<void> {
    await until(`${name} to know ${count} flows`, async () => {
      const program = await findProgram(TUNNEL_LINK, this.netnsPath(name));
      if (program === undefined) return undefined;
      const maps = openMapsOf(program);
      try {
        return [...exportFlows(openGatewayTables(maps))].length >= count ? true : undefined;
      } finally {
        closeMaps(maps);
      }
    });
  }

  /** The gateway's kernel goes without programs from its agent's start on. */
  async takeKernelParts(name: GatewayName): Promise<void> {
    await this.run(name, ['nft', 'add', 'table', 'inet', `ar-${this.fleet}-gateway`]);
  }

  async hasPublicAddress(name: GatewayName): Promise<boolean> {
    const shown = ['ip', '-j', 'addr', 'show', 'to', `${PUBLIC}/32`];
    const { stdout } = await execa('nsenter', [`--net=${this.netnsPath(name)}`, ...shown]);
    return stdout.includes(PUBLIC);
  }

  /** A host that is enrolled and connected; takes a switch's calls. */
  async connectHost(n: 0 | 1, way: Way): Promise<Program> {
    const token = String(await this.control.call('token', 'host'));
    const args = [this.fleet, HOSTS[n], way, join(this.#dir, `host${n}`), token];
    return await this.start(`host${n}`, ['standby-host.ts', ...args]);
  }

  override async destroy(): Promise<void> {
    await Promise.allSettled(GATEWAYS.map((name) => this.endAgent(name)));
    await super.destroy();
    if (this.#dir !== '') await rm(this.#dir, { recursive: true, force: true });
  }

  protected override async wire(): Promise<void> {
    await this.ip(
      'wire',
      ...['under', 'outer'].flatMap((net) => [`link add ${net} type bridge`, `link set ${net} up`]),
    );
    const plug = async (where: string, bridge: string, address: string, device?: string) =>
      await this.plugIn(where, { into: 'wire', bridge, address, ...(device && { device }) });
    await plug('control', 'under', CONTROL);
    for (const n of [0, 1] as const) await plug(`host${n}`, 'under', HOSTS[n]);
    for (const name of GATEWAYS) {
      await plug(name, 'under', UNDERLAY[name]);
      await plug(name, 'outer', OUTER[name], 'out0');
    }
    await plug('outside', 'outer', OUTSIDE);
  }
}
