import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import {
  flipProofOf,
  type GatewayVmSpec,
  type VmTraffic,
} from '../../host-agent/protocol/gateway-messages.ts';
import { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { hostFacts } from '../../test/fixtures/protocol.ts';
import { fleetHost, vmRecord } from '../../test/fixtures/records.ts';
import { type MigrationRecord, newMigration } from '../records/migration-record.ts';
import type { VmRecord } from '../records/records.ts';
import { GatewayKeeper } from './gateway-keeper.ts';
import { GatewayPairs } from './gateway-pairs.ts';
import type { Gateway, GatewayPort } from './ports.ts';

const gatewayId = HostId.parse('gw-1');
const underlay = '100.64.0.210';
const flipAt = { gatewayId, host: underlay, port: 49_216 };
const migrationId = MigrationId.parse('mig-1');
const credential = Buffer.alloc(32, 7).toString('base64');

interface WorldOptions {
  readonly answers?: boolean;
  readonly connected?: boolean;
  readonly traffic?: VmTraffic | 'uncounted' | 'away';
}

function world(options: WorldOptions = {}) {
  const { answers = true, connected = true, traffic = 'away' } = options;
  const told: (readonly GatewayVmSpec[])[] = [];
  const vms: VmRecord[] = [];
  const migrations: MigrationRecord[] = [];
  const state = connected ? ('connected' as const) : ('away' as const);
  const one: Gateway = {
    ...{ id: gatewayId, hostname: 'gw', state, vms: 0, stateSinceMs: 0 },
    underlay: connected ? underlay : undefined,
    flipPort: connected ? 49_216 : undefined,
    ...{ publicAddress: '203.0.113.1', floating: undefined, hears: undefined },
  };
  const host = (id: string, address: string) =>
    fleetHost({ id, facts: { ...hostFacts(), underlay: address } });
  const port: GatewayPort = {
    gateways: () => [one],
    flipAt: () => flipAt,
    serve: (_, { vms: specs }) => told.push(specs),
    served: async () => answers,
    answers: async () => answers,
    traffic: async () => traffic,
  };
  const logger = pino({ level: 'silent' });
  const fleet = {
    hosts: () => [host('host-1', '100.64.0.10'), host('host-2', '100.64.0.11')],
    request: async () => ({ kind: 'taken' as const }),
  };
  const book = { entries: () => [], put: () => true };
  const keeper = new GatewayKeeper({
    ...{ port, fleet, logger, pairs: new GatewayPairs({ port, book, fleet, logger }) },
    store: { listVms: async () => vms, listMigrations: async () => migrations },
    changeVm: async (id, change) => {
      const at = vms.findIndex((one) => one.id === id);
      const vm = vms[at];
      if (vm !== undefined) vms[at] = change(vm);
      return vms[at];
    },
    now: () => 0,
  });
  return { keeper, told, vms, migrations };
}

function moveOf(vm: VmRecord): MigrationRecord {
  const [from, to] = [HostId.parse('host-1'), HostId.parse('host-2')];
  const given = { id: migrationId, vmId: vm.id, jobId: null, from, to, epoch: 2 };
  return newMigration({ ...given, because: '', deadlineMs: 9, kind: 'live' }, 1);
}

describe('traffic', () => {
  const counted: VmTraffic = {
    ...{ out: { packets: 1, bytes: 9 }, in: { packets: 0, bytes: 0 }, drops: [], peers: [] },
  };

  it.each([
    [counted, { kind: 'counted', gateway: gatewayId, traffic: counted }],
    ['uncounted', { kind: 'refused', why: expect.stringContaining('do not count') }],
    ['away', { kind: 'refused', why: expect.stringContaining('does not answer') }],
  ] as const)('%s', async (traffic, answer) => {
    const { keeper } = world({ traffic });
    const network = await keeper.assign(VmId.parse('vm-1'));
    expect(await keeper.traffic(vmRecord({ id: 'vm-1', network }))).toMatchObject(answer);
  });

  it('is not asked for of a VM without a gateway', async () => {
    const asked = world().keeper.traffic(vmRecord({ id: 'vm-1', network: null }));
    expect(await asked).toMatchObject({
      kind: 'refused',
      why: expect.stringContaining('no gateway'),
    });
  });
});

describe('assign', () => {
  it('gives VMs that start together addresses of their own', async () => {
    const { keeper } = world();
    const ids = [...Array(300).keys()].map((n) => VmId.parse(`vm-${n}`));
    const given = await Promise.all(ids.map((vmId) => keeper.assign(vmId)));
    expect(new Set(given.map((one) => one?.guestAddress)).size).toBe(300);
    expect(given[0]).toMatchObject({ gateway: gatewayId, gatewayAddress: underlay });
  });

  it('gives an address that a recorded VM has to no other, parked or not', async () => {
    const { keeper, vms } = world();
    const vmId = VmId.parse('vm-1');
    const network = await keeper.assign(vmId);
    const again = world();
    again.vms.push(vmRecord({ id: 'vm-2', network }), ...vms);
    expect((await again.keeper.assign(vmId))?.guestAddress).not.toBe(network?.guestAddress);
  });

  it('gives none while no gateway is there', async () => {
    expect(await world({ connected: false }).keeper.assign(VmId.parse('vm-1'))).toBeNull();
  });
});

describe('offerPort', () => {
  it('gives VMs that ask together ports of their own, and tells the gateway', async () => {
    const { keeper, vms, told } = world();
    for (const id of ['vm-1', 'vm-2']) {
      const network = await keeper.assign(VmId.parse(id));
      vms.push(vmRecord({ id, network, phase: 'busy' }));
    }
    const wish = { protocol: 'tcp', guestPort: 80, undo: false } as const;
    const offered = await Promise.all(vms.map(({ id }) => keeper.offerPort(id, wish)));
    const [one, other] = [8_192, 8_193].map((publicPort) => [
      { protocol: 'tcp', guestPort: 80, publicPort },
    ]);
    expect(offered).toEqual([
      { kind: 'offered', address: '203.0.113.1', ports: one },
      { kind: 'offered', address: '203.0.113.1', ports: other },
    ]);
    expect(told.at(-1)).toMatchObject([{ ports: one }, { ports: other }]);
    expect(await keeper.offerPort(VmId.parse('vm-3'), wish)).toMatchObject({ kind: 'refused' });
  });
});

describe('announce', () => {
  async function announced(options: { readonly answers?: boolean; readonly connected?: boolean }) {
    const here = world(options);
    const network = { guestAddress: '10.201.0.7', gateway: gatewayId, gatewayAddress: underlay };
    const vm = vmRecord({ network, phase: 'busy' });
    here.vms.push(vm);
    here.migrations.push(moveOf(vm));
    const endpoint = await here.keeper.announce({ vm, migrationId, credential });
    return { ...here, endpoint };
  }

  it('tells the gateway who may flip the VM before it says where', async () => {
    const { endpoint, told } = await announced({});
    expect(endpoint).toEqual(flipAt);
    expect(told.at(-1)?.[0]?.move).toMatchObject({ proof: flipProofOf(credential) });
  });

  it('lets the VM move when the gateway does not answer, or is away', async () => {
    expect((await announced({ answers: false })).endpoint).toBeUndefined();
    expect((await announced({ connected: false })).endpoint).toBeUndefined();
  });

  it('forgets the proof when the move is over', async () => {
    const { keeper, told, migrations } = await announced({});
    migrations.splice(0);
    await keeper.refresh();
    migrations.push(moveOf(vmRecord()));
    await keeper.refresh();
    expect(told.at(-1)?.[0]?.move).toMatchObject({ proof: null });
  });
});
