/**
 * As the world of switches, but the addresses that these know are inside WireGuard; what is on the wire
 * are those of `OUTER`. A stranger is on the same wire.
 */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { wireguardLink } from '../../../host-agent/net/wireguard/plan-wireguard.ts';
import type { UnderlayPeer } from '../../../host-agent/protocol/underlay.ts';
import { GATEWAY, HOSTS, OUTSIDE, type Program, PUBLIC, SwitchWorld } from './switch-world.ts';

export const OUTER = {
  gateway: '100.101.0.1',
  host0: '100.101.0.2',
  host1: '100.101.0.3',
} as const;
const INNER = { gateway: GATEWAY, host0: HOSTS[0], host1: HOSTS[1] } as const;
const NODES = ['gateway', 'host0', 'host1'] as const;
export type NodeName = (typeof NODES)[number];
const RANGE = '100.100.0.0/16';
const PORT = 51_820;
const STRANGER = '100.101.0.66';

const Started = z.object({ pid: z.number() });

/** Without WireGuard, and with the stranger. */
export class BareWorld extends SwitchWorld {
  protected override readonly places = [
    ...['guest', 'host0', 'host1', 'gateway', 'outside', 'stranger'],
  ];

  static async open(): Promise<BareWorld> {
    const world = new BareWorld();
    try {
      await world.build();
      return world;
    } catch (error) {
      await world.destroy();
      throw error;
    }
  }

  protected override async wire(): Promise<void> {
    await super.wire();
    await this.plugIn('stranger', { into: 'gateway', bridge: 'br0', address: '100.100.0.66' });
  }
}

export class WireguardWorld extends SwitchWorld {
  protected override readonly places = [
    ...['guest', 'host0', 'host1', 'gateway', 'outside', 'stranger'],
  ];
  protected override readonly mtu = 1390;
  readonly #links = new Map<NodeName, Program>();
  readonly #keys = new Map<NodeName, string>();
  #dir = '';

  static async open(): Promise<WireguardWorld> {
    const world = new WireguardWorld();
    try {
      world.#dir = await mkdtemp(join(tmpdir(), 'wireguard-'));
      await world.build();
      return world;
    } catch (error) {
      await world.destroy();
      throw error;
    }
  }

  /** The node has these peers from now on. */
  async connect(node: NodeName, others: readonly NodeName[]): Promise<void> {
    const peers = others.map((other): UnderlayPeer => {
      const keepAlive = other === 'gateway' || node === 'gateway';
      const publicKey = this.#keys.get(other) ?? '';
      return { publicKey, endpoint: OUTER[other], address: INNER[other], keepAlive };
    });
    const word = { kind: 'wireguard', address: INNER[node], range: RANGE, port: PORT, peers };
    await this.#links.get(node)?.call('apply', word);
  }

  linkOf(node: NodeName): string {
    return wireguardLink(`${this.fleet}${node}`);
  }

  /** Of the node's wireguard-go; undefined: there is none just now. */
  async processOf(node: NodeName): Promise<number | undefined> {
    const path = join(this.#dir, node, 'wireguard-go.json');
    const text = await readFile(path, 'utf8').catch(() => undefined);
    return text === undefined ? undefined : Started.parse(JSON.parse(text)).pid;
  }

  /** As an agent does that leaves the fleet. */
  async leave(node: NodeName): Promise<void> {
    await this.#links.get(node)?.call('remove');
  }

  override async destroy(): Promise<void> {
    // First, so that nobody makes a link again.
    await Promise.allSettled([...this.#links.values()].map((program) => program.end()));
    for (const node of NODES) await this.#endProcesses(node);
    await super.destroy();
    if (this.#dir !== '') await rm(this.#dir, { recursive: true, force: true });
  }

  /** Of the node's namespace: wireguard-go outlives who started it, written down or not. */
  async #endProcesses(node: NodeName): Promise<void> {
    const listed = await execa('ip', ['netns', 'pids', this.netns(node)], { reject: false });
    for (const pid of listed.stdout.split('\n').filter((line) => line !== ''))
      await execa('kill', ['-9', pid], { reject: false });
  }

  protected override async wire(): Promise<void> {
    await this.ip(
      'gateway',
      'link add br0 type bridge',
      `addr add ${OUTER.gateway}/24 dev br0`,
      'link set br0 up',
      `link add out0 type veth peer name eth0 netns ${this.netns('outside')}`,
      `addr add ${PUBLIC}/24 dev out0`,
      'link set out0 up',
    );
    await this.ip('outside', `addr add ${OUTSIDE}/24 dev eth0`, 'link set eth0 up');
    for (const where of ['host0', 'host1'] as const)
      await this.plugIn(where, { into: 'gateway', bridge: 'br0', address: OUTER[where] });
    await this.plugIn('stranger', { into: 'gateway', bridge: 'br0', address: STRANGER });
    await Promise.all(NODES.map((node) => this.#startLink(node)));
    await Promise.all(
      NODES.map((node) =>
        this.connect(
          node,
          NODES.filter((one) => one !== node),
        ),
      ),
    );
  }

  async #startLink(node: NodeName): Promise<void> {
    const dir = join(this.#dir, node);
    await mkdir(dir);
    const args = [dir, this.fleet, `${this.fleet}${node}`];
    const program = await this.start(node, ['wireguard-program.ts', ...args]);
    this.#links.set(node, program);
    this.#keys.set(node, String(await program.call('key')));
  }
}
