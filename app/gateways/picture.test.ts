import { describe, expect, it } from 'vitest';
import { HostId, MigrationId } from '../../host-agent/protocol/ids.ts';
import { vmRecord } from '../../test/fixtures/records.ts';
import { type MigrationRecord, newMigration } from '../records/migration-record.ts';
import { picturesOf } from './picture.ts';

const [host1, host2, gateway] = ['host-1', 'host-2', 'gw-1'].map((id) => HostId.parse(id));
const [A, B] = ['100.64.0.10', '100.64.0.11'];
const GUEST = '10.201.0.7';
const network = { guestAddress: GUEST, gateway: 'gw-1', gatewayAddress: '100.64.0.210' };
const vm = vmRecord({ network, phase: 'busy' });
const id = MigrationId.parse('mig-1');
const proof = Buffer.alloc(32).toString('base64');

function migration(over: Partial<MigrationRecord>): MigrationRecord {
  if (host1 === undefined || host2 === undefined) throw new Error('no hosts');
  const given = { id, vmId: vm.id, jobId: null, from: host1, to: host2, epoch: 2 };
  const why = { because: 'its host goes', deadlineMs: 9 };
  return { ...newMigration({ ...given, ...why, kind: 'live' }, 1), ...over };
}

function specOf(
  migrations: readonly MigrationRecord[],
  { vms = [vm], known = [host1, host2] }: { vms?: (typeof vm)[]; known?: (typeof host1)[] } = {},
) {
  const addressOf = (host: HostId) => (known.includes(host) ? (host === host1 ? A : B) : undefined);
  const proofs = new Map([[id, proof]]);
  const actingFor = (id: HostId) => id;
  const pictures = picturesOf({ vms, migrations, addressOf, actingFor, proofs });
  return gateway === undefined ? [] : pictures.get(gateway);
}

const target = { host: B, epoch: 2 };
const move = { migrationId: id, source: host1, target, proof };
const home = { host: A, epoch: 1 };

describe('picturesOf', () => {
  it.each<[string, Partial<MigrationRecord> | undefined, unknown, unknown]>([
    ['at home', undefined, home, null],
    ['reserved', { phase: 'reserving' }, home, move],
    ['in the middle', { phase: 'switchover', given: true }, home, move],
    ['committed', { phase: 'committed', given: true }, target, null],
    ['done', { phase: 'done', given: true }, target, null],
    ['given up', { phase: 'aborted' }, home, null],
    ['lost with its target', { phase: 'lost', given: true }, target, null],
    ['being parked', { kind: 'park', to: null, phase: 'parking' }, home, null],
    ['parked', { kind: 'park', to: null, phase: 'parked' }, 'stored', null],
    ['coming back', { kind: 'park', phase: 'resuming' }, target, null],
    ['rewinding', { kind: 'rewind', phase: 'resuming' }, target, null],
  ])('%s', (_, over, expectedHome, expectedMove) => {
    const migrations = over === undefined ? [] : [migration(over)];
    expect(specOf(migrations)).toEqual([
      { vmId: vm.id, guestAddress: GUEST, home: expectedHome, move: expectedMove },
    ]);
  });

  it('changes nothing of a VM whose host has not been heard', () => {
    expect(specOf([], { known: [host2] })).toMatchObject([{ home: 'unknown' }]);
    expect(specOf([migration({})], { known: [host1] })).toMatchObject([{ home, move: null }]);
  });

  it('leaves out VMs that are over, and those without a gateway', () => {
    const others = [vmRecord({ network, phase: 'failed' }), vmRecord({ network: null })];
    expect(specOf([], { vms: others })).toBeUndefined();
  });
});
