import { describe, expect, it } from 'vitest';
import { HostId, JobId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { Report } from '../../host-agent/protocol/messages.ts';
import { POOL, vmReport } from '../../test/fixtures/protocol.ts';
import { fleetHost, jobRecord, vmRecord } from '../../test/fixtures/records.ts';
import { SHARE } from '../planner/moves-world.ts';
import { newMigration } from '../records/migration-record.ts';
import { assembleObserved, type Readings, unrecordedVms } from './assemble-observed.ts';
import { momentsOf } from './note-moments.ts';
import type { FleetHost } from './ports.ts';

function host(vmIds: readonly string[], over: Partial<Report> = {}, id = 'host-1'): FleetHost {
  return fleetHost({ id, report: { vms: vmIds.map((vmId) => vmReport({ vmId })), ...over } });
}

function assembled(over: Partial<Readings>) {
  return assembleObserved({
    jobs: [],
    vms: [],
    hosts: [],
    pool: POOL,
    shareOf: () => SHARE,
    adoptable: new Map(),
    migrations: [],
    wishes: [],
    drained: new Set(),
    isGone: () => false,
    lookingSinceMs: 5,
    nowMs: 9,
    ...over,
  });
}

describe('assembleObserved', () => {
  it('tells recorded, missing and unknown VMs apart', () => {
    const { observed } = assembled({
      vms: [vmRecord({ id: 'vm-a' }), vmRecord({ id: 'vm-b' })],
      hosts: [host(['vm-a', 'vm-c'])],
    });
    expect(observed.vms.map(({ id, missing, unknown }) => ({ id, missing, unknown }))).toEqual([
      { id: 'vm-a', missing: false, unknown: false },
      { id: 'vm-b', missing: true, unknown: false },
      { id: 'vm-c', missing: false, unknown: true },
    ]);
  });

  it('knows what job runs on a VM although nothing else is known of it', () => {
    const jobs = [jobRecord({ state: 'in-progress', vmId: 'vm-c', startedAtMs: 1 })];
    const { observed } = assembled({ jobs, hosts: [host(['vm-c'])] });
    expect(observed.vms).toMatchObject([{ id: 'vm-c', unknown: true, runsJob: '7' }]);
  });

  it('takes over a running VM that the evidence knows, although it was held for dead', () => {
    const hosts = [host(['vm-c'])];
    const [id] = unrecordedVms(hosts, []);
    if (id === undefined) throw new Error('vm-c has a record');
    const dead = vmRecord({ id: 'vm-c', phase: 'failed', why: 'away' });
    const { observed, changedVms } = assembled({ hosts, adoptable: new Map([[id, dead]]) });
    expect(observed.vms).toMatchObject([{ id, phase: 'idle', unknown: false }]);
    expect(changedVms).toMatchObject([{ id, phase: 'idle', why: null }]);
  });

  it('believes no host about the VMs of another', () => {
    const honest = host(['vm-a', 'vm-c']);
    const dead = { epoch: 99, startedAtMs: 3, phase: 'failed' as const, why: 'stolen' };
    const vms = host(['vm-a', 'vm-c']).report?.vms.map((vm) => ({ ...vm, ...dead })) ?? [];
    const liar = host([], { vms }, 'host-2');
    const evidence = new Map([[VmId.parse('vm-c'), vmRecord({ id: 'vm-c' })]]);
    const world = { vms: [vmRecord({ id: 'vm-a', qemuPid: 1 })], adoptable: evidence };
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
    const placed = vmRecord({ id: 'vm-a', forJob: JobId.parse('7') });
    const alone = assembled({ vms: [placed], hosts: [liar] });
    expect(momentsOf(alone.observed, [liar])).toEqual([]);
    expect(momentsOf(alone.observed, [honest])).toHaveLength(1);
    expect(alone.observed.vms.find(({ id }) => id === 'vm-a')).toMatchObject({ phase: 'idle' });
  });

  it('counts a host that never connected as away since it began to look', () => {
    const { observed } = assembled({ vms: [vmRecord({ id: 'vm-a' })] });
    expect(observed.hosts).toMatchObject([{ id: 'host-1', state: 'away', stateSinceMs: 5 }]);
    expect(observed.vms).toMatchObject([{ missing: false }]);
  });

  it('gives no new VM to a host that has a notice or no template', () => {
    const notice = { kind: 'interruption', deadlineMs: 1, source: 'ec2', seenAtMs: 1 } as const;
    const noticed = assembled({ hosts: [host([], { notice })] });
    expect(noticed.observed.hosts).toMatchObject([{ state: 'draining', notice }]);
    const hint = { ...notice, kind: 'rebalance', deadlineMs: null } as const;
    const hinted = assembled({ hosts: [host([], { notice: hint })] });
    expect(hinted.observed.hosts).toMatchObject([{ state: 'connected', notice: hint }]);
    const bare = assembled({ hosts: [host([], { artifacts: [] })] });
    expect(bare.observed.hosts).toMatchObject([{ state: 'connected', templateReady: false }]);
  });

  it('places a VM on its target, though its source reported the new epoch first', () => {
    const [from, to] = [HostId.parse('host-1'), HostId.parse('host-2')];
    const ids = { id: MigrationId.parse('m-1'), vmId: VmId.parse('vm-a'), jobId: null };
    const why = { because: 'a notice', deadlineMs: 9 };
    const begun = newMigration({ ...ids, ...why, kind: 'live', from, to, epoch: 2 }, 1);
    const report = vmReport({ vmId: 'vm-a', epoch: 2 });
    const given = assembled({
      vms: [vmRecord({ id: 'vm-a' })],
      hosts: [host([], { vms: [report] }), host([], {}, 'host-2')],
      migrations: [{ ...begun, phase: 'switchover', given: true }],
    });
    expect(given.changedVms).toMatchObject([{ hostId: from, epoch: 2 }]);
    const received = assembled({
      vms: given.changedVms,
      hosts: [host([]), host([], { vms: [report] }, 'host-2')],
      migrations: [{ ...begun, phase: 'committed', given: true }],
    });
    expect(received.changedVms).toMatchObject([{ hostId: to, epoch: 2, phase: 'idle' }]);
  });
});
