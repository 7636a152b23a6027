/** What a host has of a VM, seen from outside: what a host that does not hold it must not have. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { hostTag } from '../../../host-agent/host-tag.ts';
import { placeName } from '../../../host-agent/net/vm-link-plan.ts';
import { HostId, type VmId } from '../../../host-agent/protocol/ids.ts';
import { findQemu, type QemuProcess } from '../../../host-agent/vm/launch.ts';
import { vmFiles } from '../../../host-agent/vm/vm-files.ts';
import { type MovingAgents, netnsOf } from './moving-agents.ts';
import { PEER_PORTS } from './peer-link.ts';

/** __SO_ACCEPTCON (include/uapi/linux/net.h), as its column shows it. */
const LISTENS = ' 00010000 ';

export class VmTraces {
  readonly #agents: MovingAgents;
  readonly #vmId: VmId;

  constructor(agents: MovingAgents, vmId: VmId) {
    this.#agents = agents;
    this.#vmId = vmId;
  }

  vmDir(host: string): string {
    return join(this.#agents.control.agentDir(host), 'vms', this.#vmId);
  }

  async qemu(host: string): Promise<QemuProcess | undefined> {
    return await findQemu(vmFiles(this.vmDir(host)).qmpSocket);
  }

  overlay(host: string): string {
    return vmFiles(this.vmDir(host)).overlay;
  }

  /** Removed last of all, and then the host may be asked to take the VM again. */
  hasJournal(host: string): boolean {
    return existsSync(this.#journalPath(host));
  }

  /** How many sockets listen, or did, where the VM's QEMU finds its disk's export (proc(5): net/unix). */
  exports(host: string): number {
    const { diskSocket } = vmFiles(this.vmDir(host));
    const all = readFileSync(`/proc/${this.#agents.agentPid(host)}/net/unix`, 'utf8').split('\n');
    return all.filter((line) => line.includes(LISTENS) && line.endsWith(` ${diskSocket}`)).length;
  }

  /** Whether QEMU would find one there. */
  hasExport(host: string): boolean {
    return existsSync(vmFiles(this.vmDir(host)).diskSocket);
  }

  /** A line for each; empty: the host has nothing of the VM. */
  async at(host: string): Promise<readonly string[]> {
    const qemu = await this.qemu(host);
    const place = placeName({ vmId: this.#vmId, tag: this.#tagOf(host) });
    return [
      ...(qemu === undefined ? [] : [`QEMU ${qemu.pid}`]),
      ...globSync(`/run/netns/*${place}`),
      ...globSync(`/sys/fs/cgroup/architect/*/${place}`),
      ...globSync(`/sys/fs/cgroup/*/architect/*/${place}`),
      ...[this.vmDir(host), this.#journalPath(host), this.#keyPath(host)].filter(existsSync),
      ...(await this.#connections(host)),
    ];
  }

  /** Of any VM: the rest has the VM in its name, a port has not. */
  async #connections(host: string): Promise<readonly string[]> {
    const { first, last } = PEER_PORTS;
    const ports = `( sport >= ${first} and sport <= ${last} )`;
    const enter = [`--net=/run/netns/${netnsOf(host)}`, 'ss', '-Hatn', ports];
    const { stdout } = await execa('nsenter', enter);
    const isOpen = (line: string) => !/^(TIME-WAIT|FIN-WAIT|LAST-ACK|CLOSING)/.test(line);
    return stdout.split('\n').filter((line) => line !== '' && isOpen(line));
  }

  #journalPath(host: string): string {
    return join(this.#agents.control.agentDir(host), 'journal', `${this.#vmId}.json`);
  }

  #keyPath(host: string): string {
    return join('/run/architect-agent', this.#tagOf(host), `${this.#vmId}.json`);
  }

  #tagOf(host: string): string {
    const id = this.#agents.hostNow(host)?.id;
    if (id === undefined) throw new Error(`no host ${host}`);
    return hostTag(HostId.parse(id));
  }
}

/** Of the group of this process; undefined: it is gone, or nothing limits it. */
export function cpuQuotaUs(pid: number): number | undefined {
  try {
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    const v1 = /:cpu(?:,cpuacct)?:(.*)/.exec(groups)?.[1];
    if (v1 !== undefined) {
      return Number(readFileSync(`/sys/fs/cgroup/cpu${v1}/cpu.cfs_quota_us`, 'utf8'));
    }
    const v2 = /^0::(.*)/m.exec(groups)?.[1] ?? '';
    return Number(readFileSync(`/sys/fs/cgroup${v2}/cpu.max`, 'utf8').split(' ')[0]);
  } catch {
    return undefined;
  }
}
