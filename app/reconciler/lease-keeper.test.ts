import { expect, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { TokenReport } from '../../host-agent/protocol/messages.ts';
import {
  LEASE_MS,
  LEASE_RENEWAL_MS,
  type TokenWord,
} from '../../host-agent/protocol/token-messages.ts';
import { fleetHost } from '../../test/fixtures/records.ts';
import { findDueLeases } from './lease-keeper.ts';

const [hostId, vmId] = [HostId.parse('host-1'), VmId.parse('vm-1')];
const NOW_MS = 1_000_000;
const DUE_MS = LEASE_MS - LEASE_RENEWAL_MS;
const move = { migrationId: MigrationId.parse('m-1'), epoch: 3, hostId };
const holds = (leftMs: number): TokenWord => ({
  ...{ kind: 'holds', epoch: 2, from: null, lease: { untilMs: NOW_MS + leftMs } },
});

function hostWith(word: TokenWord, state: 'connected' | 'away' = 'connected') {
  const tokens: TokenReport[] = [{ vmId, word, doubt: false }];
  return fleetHost({ id: 'host-1', state, report: { tokens } });
}

test.each<[string, TokenWord, boolean]>([
  ['has run for an interval of renewal', holds(DUE_MS), true],
  ['is newer', holds(DUE_MS + 1), false],
  ['has lapsed', holds(-100_000), true],
  ['is none', { kind: 'holds', epoch: 2, from: null, lease: null }, false],
  ['is given away', { kind: 'given', move, lease: { untilMs: NOW_MS } }, false],
  ['is on its way here', { kind: 'reserved', move, loaded: true }, false],
])('a lease that %s', (_name, word, isDue) => {
  const due = isDue ? [{ vmId, hostId, epoch: 2 }] : [];
  expect(findDueLeases([hostWith(word)], NOW_MS)).toEqual(due);
});

test('a host that is away gets none', () => {
  expect(findDueLeases([hostWith(holds(0), 'away')], NOW_MS)).toEqual([]);
});
