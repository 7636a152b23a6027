import { describe, expect, it } from 'vitest';
import type { PoolSpec } from '../../host-agent/protocol/host-facts.ts';
import { Digest, HostId, JobId, VmId } from '../../host-agent/protocol/ids.ts';
import type { Report } from '../../host-agent/protocol/messages.ts';
import { VmRecord } from '../records/records.ts';
import { assembleObserved, type Readings, unrecordedVms } from './assemble-observed.ts';
import { momentsOf } from './note-moments.ts';
import type { FleetHost } from './ports.ts';

const CLASS = { vcpus: 2, memoryMib: 4096, diskGib: 20, arch: 'x64' as const };
const DIGEST = Digest.parse(`sha256:${'1'.repeat(64)}`);
const POOL: PoolSpec = {
  id: 'p',
  arch: 'x64',
  accelerator: 'tcg',
  cpuVendor: null,
  cpuModel: 'qemu64',
  machineType: 'q35',
  image: DIGEST,
  template: DIGEST,
};

function vmRecord(id: string, over: Partial<VmRecord> = {}): VmRecord {
  return VmRecord.parse({
    id,
    generation: 1,
    hostId: 'host-1',
    phase: 'idle',
    class: CLASS,
    forJob: null,
    runsJob: null,
    runnerId: null,
    runnerName: null,
    qemuPid: null,
    guestKernel: null,
    accelerator: null,
    phaseSinceMs: 1,
    createdAtMs: 1,
    why: null,
    ...over,
  });
}

function host(vmIds: readonly string[], over: Partial<Report> = {}, id = 'host-1'): FleetHost {
  const vms = vmIds.map((id) => ({
    vmId: VmId.parse(id),
    epoch: 1,
    phase: 'idle' as const,
    class: CLASS,
    assignedJob: null,
    accelerator: 'tcg' as const,
    qemuPid: 1,
    guestKernel: null,
    runner: { state: 'waiting' as const },
    why: null,
    startedAtMs: 2,
    guestReadyAtMs: null,
    runnerStartedAtMs: null,
    stoppedAtMs: null,
  }));
  return {
    id: HostId.parse(id),
    hostname: 'm1',
    state: 'connected',
    turnedAwayWhy: undefined,
    stateSinceMs: 0,
    facts: {
      arch: 'x64',
      accelerator: 'tcg',
      acceleratorWhy: '',
      cpu: { vendor: '', modelName: '', features: [] },
      cpuModels: [],
      capacity: { vcpus: 8, memoryMib: 8192, diskGib: 100 },
      kernel: '',
      qemuVersion: '',
      cgroup: 'none',
    },
    report: {
      type: 'report',
      seq: 1,
      sentAtMs: 1,
      artifacts: [DIGEST],
      vms,
      notice: null,
      ...over,
    },
  };
}

function assembled(over: Partial<Readings>) {
  return assembleObserved({
    jobs: [],
    vms: [],
    hosts: [],
    pool: POOL,
    adoptable: new Map(),
    migrations: [],
    wishes: [],
    drained: new Set(),
    isGone: () => false,
    leaseOverAtMs: () => undefined,
    lookingSinceMs: 5,
    nowMs: 9,
    ...over,
  });
}

describe('assembleObserved', () => {
  it('tells recorded, missing and unknown VMs apart', () => {
    const { observed } = assembled({
      vms: [vmRecord('vm-a'), vmRecord('vm-b')],
      hosts: [host(['vm-a', 'vm-c'])],
    });
    expect(observed.vms.map(({ id, missing, unknown }) => ({ id, missing, unknown }))).toEqual([
      { id: 'vm-a', missing: false, unknown: false },
      { id: 'vm-b', missing: true, unknown: false },
      { id: 'vm-c', missing: false, unknown: true },
    ]);
  });

  it('takes over a running VM that the evidence knows, although it was held for dead', () => {
    const hosts = [host(['vm-c'])];
    const [id] = unrecordedVms(hosts, []);
    if (id === undefined) throw new Error('vm-c has a record');
    const dead = vmRecord('vm-c', { phase: 'failed', why: 'away' });
    const { observed, changedVms } = assembled({ hosts, adoptable: new Map([[id, dead]]) });
    expect(observed.vms).toMatchObject([{ id, phase: 'idle', unknown: false }]);
    expect(changedVms).toMatchObject([{ id, phase: 'idle', why: null }]);
  });

  it('believes no host about the VMs of another', () => {
    const honest = host(['vm-a', 'vm-c']);
    const dead = { epoch: 99, startedAtMs: 3, phase: 'failed' as const, why: 'stolen' };
    const vms = host(['vm-a', 'vm-c']).report?.vms.map((vm) => ({ ...vm, ...dead })) ?? [];
    const liar = host([], { vms }, 'host-2');
    const evidence = new Map([[VmId.parse('vm-c'), vmRecord('vm-c')]]);
    const world = { vms: [vmRecord('vm-a')], adoptable: evidence };
    for (const hosts of [
      [honest, liar],
      [liar, honest],
    ]) {
      const { observed, changedVms } = assembled({ ...world, hosts });
      expect(observed.vms).toMatchObject([
        { id: 'vm-a', hostId: 'host-1', phase: 'idle', missing: false },
        { id: 'vm-c', hostId: 'host-1', phase: 'idle', missing: false },
      ]);
      expect(changedVms).toMatchObject([{ id: 'vm-c', hostId: 'host-1', why: null }]);
    }
    const placed = vmRecord('vm-a', { forJob: JobId.parse('7') });
    const alone = assembled({ vms: [placed], hosts: [liar] });
    expect(momentsOf(alone.observed, [liar])).toEqual([]);
    expect(momentsOf(alone.observed, [honest])).toHaveLength(1);
    expect(alone.observed.vms.find(({ id }) => id === 'vm-a')).toMatchObject({ phase: 'idle' });
  });

  it('counts a host that never connected as away since it began to look', () => {
    const { observed } = assembled({ vms: [vmRecord('vm-a')] });
    expect(observed.hosts).toMatchObject([{ id: 'host-1', state: 'away', stateSinceMs: 5 }]);
    expect(observed.vms).toMatchObject([{ missing: false }]);
  });

  it('gives no new VM to a host that has a notice or no template', () => {
    const notice = {
      kind: 'interruption' as const,
      deadlineMs: 1,
      source: 'ec2' as const,
      seenAtMs: 0,
    };
    const noticed = assembled({ hosts: [host([], { notice })] });
    expect(noticed.observed.hosts).toMatchObject([{ state: 'draining' }]);
    const bare = assembled({ hosts: [host([], { artifacts: [] })] });
    expect(bare.observed.hosts).toMatchObject([{ state: 'connected', templateReady: false }]);
  });
});
