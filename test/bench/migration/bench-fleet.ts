/**
 * Hosts on one link: each a network namespace with a process of the agent's own parts in it, joined
 * by a bridge in a namespace of its own. What is capped, is capped where it leaves a host and where
 * it leaves the bridge for it, so a host's link has that rate in either direction.
 *
 *   host 0 ══ veth ══╗
 *   host 1 ══ veth ══╬══ bridge (and whatever else is to be on the link, the store for one)
 *   host … ══ veth ══╝
 */
import { randomBytes } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { openCertificateAuthority } from '../../../app/agents/certificate-authority.ts';
import { generateHostKeys } from '../../../host-agent/control/host-keys.ts';
import { HostId } from '../../../host-agent/protocol/ids.ts';
import type { StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import { HostLink } from './host-link.ts';

const SUBNET = '10.213.0';
const FIRST_ADDRESS = 10;
/** What tbf may send at once: a few milliseconds of a fast link. */
const BURST_BYTES = 256 * 1024;
const TBF_LATENCY = '50ms';

export interface FleetSpec {
  readonly hosts: number;
  /** Of each host's link, either way; undefined: as fast as the machine is. */
  readonly linkBytesPerSecond?: number;
  readonly isTracking?: boolean;
  /** Given the fleet's folder. */
  readonly store?: (dir: string) => StoreSpec;
}

export class BenchFleet implements AsyncDisposable {
  readonly name = `bench${randomBytes(2).toString('hex')}`;
  readonly homeDir = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
  readonly dir: string;
  readonly #hosts: HostLink[] = [];
  readonly #spec: FleetSpec;

  private constructor(dir: string, spec: FleetSpec) {
    this.dir = dir;
    this.#spec = spec;
  }

  /** On failure nothing is left. */
  static async open(spec: FleetSpec): Promise<BenchFleet> {
    const dir = await mkdtemp('/var/tmp/architect-bench-');
    const fleet = new BenchFleet(dir, spec);
    try {
      await chmod(dir, 0o711);
      await fleet.#connect();
      await fleet.#startHosts();
      return fleet;
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  host(index: number): HostLink {
    const host = this.#hosts[index];
    if (host === undefined) throw new RangeError(`there is no host ${index}`);
    return host;
  }

  netnsOf(index: number): string {
    return `ar-${this.name}-h${index}`;
  }

  addressOf(index: number): string {
    return `${SUBNET}.${FIRST_ADDRESS + index}`;
  }

  /** Bytes that have left host `index` by its link, heads of packets included. */
  async sentBytes(index: number): Promise<number> {
    const statistics = '/sys/class/net/uplink/statistics/tx_bytes';
    const netns = `--net=/run/netns/${this.netnsOf(index)}`;
    // nsenter leaves /sys as the machine's; mounted anew it shows the namespace's own links.
    const script = `mount -t sysfs none /sys && cat ${statistics}`;
    const { stdout } = await execa('nsenter', [netns, 'unshare', '-m', 'sh', '-c', script]);
    return Number(stdout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#hosts.map((host) => host.end()));
    for (const pid of processesOf(this.name)) killIgnoringGone(pid);
    const all = globSync(`/run/netns/ar-${this.name}-*`).map((path) => basename(path));
    for (const netns of all) await execa('ip', ['netns', 'delete', netns], { reject: false });
    await rm(this.dir, { recursive: true, force: true });
  }

  get #bridge(): string {
    return `ar-${this.name}-sw`;
  }

  #indexes(): readonly number[] {
    return Array.from({ length: this.#spec.hosts }, (_, index) => index);
  }

  async #connect(): Promise<void> {
    await ip('netns', 'add', this.#bridge);
    await ip('-n', this.#bridge, 'link', 'add', 'br0', 'type', 'bridge');
    await ip('-n', this.#bridge, 'link', 'set', 'br0', 'up');
    for (const index of this.#indexes()) await this.#connectHost(index);
  }

  async #connectHost(index: number): Promise<void> {
    const [netns, bridge, port] = [this.netnsOf(index), this.#bridge, `h${index}`];
    await ip('netns', 'add', netns);
    await ip('-n', netns, 'link', 'set', 'lo', 'up');
    const peer = ['peer', 'name', port, 'netns', bridge];
    await ip('-n', netns, 'link', 'add', 'uplink', 'type', 'veth', ...peer);
    await ip('-n', bridge, 'link', 'set', port, 'master', 'br0', 'up');
    await ip('-n', netns, 'address', 'add', `${this.addressOf(index)}/24`, 'dev', 'uplink');
    await ip('-n', netns, 'link', 'set', 'uplink', 'up');
    const { linkBytesPerSecond } = this.#spec;
    if (linkBytesPerSecond === undefined) return;
    await capLink(netns, 'uplink', linkBytesPerSecond);
    await capLink(bridge, port, linkBytesPerSecond);
  }

  async #startHosts(): Promise<void> {
    const authority = await openCertificateAuthority(join(this.dir, 'ca'), Date.now());
    const { isTracking = true, store } = this.#spec;
    for (const index of this.#indexes()) {
      const hostId = HostId.parse(`h-${index}`);
      const { csrPem, privateKeyPem } = await generateHostKeys();
      const issued = await authority.signHost({ csrPem, hostId, nowMs: Date.now() });
      if (issued.kind === 'refused') throw new Error(issued.why);
      const dir = join(this.dir, `h${index}`);
      await mkdir(dir, { mode: 0o711 });
      const identity = {
        caPem: authority.certificatePem,
        certificatePem: issued.certificatePem,
        privateKeyPem,
      };
      const task = {
        ...{ fleet: this.name, homeDir: this.homeDir, dir, hostId, tag: `h${index}` },
        ...{ address: this.addressOf(index), identity, isTracking },
        store: store?.(this.dir) ?? null,
      };
      this.#hosts.push(await HostLink.start(this.netnsOf(index), task));
    }
  }
}

/** Everything that runs for a fleet has its name in its environment. */
export function processesOf(fleet: string): readonly number[] {
  const mark = `ARCHITECT_FLEET=${fleet}`;
  return globSync('/proc/[0-9]*').flatMap((dir) => {
    const environment = readIfThere(join(dir, 'environ')).split('\0');
    return environment.includes(mark) ? [Number(basename(dir))] : [];
  });
}

/** Empty when it is gone. */
export function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** What a failed bench left: a VM that was on its way between two hosts, at most. */
function killIgnoringGone(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

async function capLink(netns: string, device: string, bytesPerSecond: number): Promise<void> {
  const rate = `${bytesPerSecond * 8}bit`;
  const tbf = ['tbf', 'rate', rate, 'burst', String(BURST_BYTES), 'latency', TBF_LATENCY];
  await execa('tc', ['-n', netns, 'qdisc', 'add', 'dev', device, 'root', ...tbf]);
}

async function ip(...args: readonly string[]): Promise<void> {
  await execa('ip', args);
}
