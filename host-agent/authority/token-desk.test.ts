import pino from 'pino';
import { expect, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../protocol/ids.ts';
import type { PeerMove } from '../protocol/token-messages.ts';
import { TokenDesk } from './token-desk.ts';
import { TokenDriver } from './token-driver.ts';

const vmId = VmId.parse('vm-1');
const peer = HostId.parse('peer');
const move = (epoch: number): PeerMove => ({
  migrationId: MigrationId.parse(`m${epoch}`),
  epoch,
  hostId: peer,
});
const plain = (epoch: number) => ({ migrationId: move(epoch).migrationId, epoch });
const query = { kind: 'token-query', vmId } as const;

function around(journal: () => Promise<void> = async () => undefined) {
  const nothing = async () => undefined;
  return {
    logger: pino({ enabled: false }),
    clocks: () => ({ wallMs: 0, monotonicMs: 0 }),
    pause: nothing,
    ports: {
      journal,
      send: () => undefined,
      askArbiter: () => undefined,
      resume: nothing,
      hasEnded: async () => false,
      halt: nothing,
      fence: nothing,
      remove: nothing,
    },
  };
}

test('of a VM that it does not know it says so, to the control plane and to agents', async () => {
  const desk = new TokenDesk();
  expect(await desk.serve(query)).toEqual({ kind: 'taken', word: { kind: 'none' } });
  const give = { kind: 'give', move: plain(2), lease: null } as const;
  expect(await desk.hear(vmId, peer, give)).toEqual({ kind: 'unknown', move: plain(2) });
});

test('a reservation is refused while anything of the VM is here, but not after its refusal', async () => {
  const desk = new TokenDesk();
  const first = await desk.reserve(vmId, move(2), around());
  expect(first.kind).toBe('reserved');
  expect((await desk.reserve(vmId, move(3), around())).kind).toBe('refused');
  await desk.driverOf(vmId)?.call({ kind: 'refuse', why: 'full' });
  expect((await desk.reserve(vmId, move(2), around())).kind).toBe('refused');
  expect((await desk.reserve(vmId, move(3), around())).kind).toBe('reserved');
});

test('two reservations at once: one of them', async () => {
  const desk = new TokenDesk();
  const both = await Promise.all([2, 3].map((epoch) => desk.reserve(vmId, move(epoch), around())));
  expect(both.map(({ kind }) => kind)).toEqual(['reserved', 'refused']);
});

test('a reservation that cannot be journalled is none', async () => {
  const desk = new TokenDesk();
  const full = around(() => Promise.reject(new Error('no space')));
  expect((await desk.reserve(vmId, move(2), full)).kind).toBe('refused');
  expect(await desk.serve(query)).toMatchObject({ word: { kind: 'none' } });
});

test('what is open is in the reports, until it is decided', async () => {
  const desk = new TokenDesk();
  await desk.reserve(vmId, move(2), around());
  desk.noteDoubt(vmId);
  expect(desk.reports()).toMatchObject([{ vmId, doubt: true, word: { kind: 'reserved' } }]);
  const settled = { kind: 'settled', move: plain(2) } as const;
  const verdict = { kind: 'relay', from: peer, message: settled } as const;
  const outcome = await desk.serve({ kind: 'token-decision', vmId, verdict });
  expect(outcome).toEqual({ kind: 'taken', word: { kind: 'none' } });
  expect(desk.reports()).toEqual([]);
});

test('a VM that is plainly held is in no report', async () => {
  const desk = new TokenDesk();
  const tenure = { epoch: 1, from: null, lease: null };
  desk.open(vmId, TokenDriver.holding({ kind: 'holding', tenure }, around()));
  expect(desk.reports()).toEqual([]);
  expect(await desk.serve(query)).toMatchObject({ word: { kind: 'holds', epoch: 1 } });
});
