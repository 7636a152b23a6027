import pino from 'pino';
import { expect, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import type { AgentOutcome, AgentRequest } from '../../host-agent/protocol/messages.ts';
import type { TokenWord } from '../../host-agent/protocol/token-messages.ts';
import { type LeaseAnswer, TokenArbiter } from './token-arbiter.ts';

const [s, t] = [HostId.parse('s'), HostId.parse('t')];
const vmId = VmId.parse('vm-1');
const move = { migrationId: MigrationId.parse('m1'), epoch: 2 };
const toT = { ...move, hostId: t };
const fromS = { ...move, hostId: s };
const given: TokenWord = { kind: 'given', move: toT, lease: null };
const reserved: TokenWord = { kind: 'reserved', move: fromS, loaded: true };
const refused: TokenWord = { kind: 'refused', move: fromS, why: 'full' };
const holds = (epoch: number, from: typeof fromS | null = null): TokenWord => ({
  kind: 'holds',
  epoch,
  from,
  lease: null,
});
const none: TokenWord = { kind: 'none' };
const ended: TokenWord = { kind: 'ended', epoch: 2 };

type Host = TokenWord | 'silent' | 'gone';

function fleetOf(hosts: Readonly<Record<string, Host>>, lease?: LeaseAnswer) {
  const log: string[] = [];
  const arbiter = new TokenArbiter({
    logger: pino({ enabled: false }),
    isGone: async (hostId) => hosts[hostId] === 'gone',
    lease: async () => {
      log.push('lease');
      if (lease === undefined) throw new Error('no chunk store');
      return lease;
    },
    async request(hostId: HostId, request: AgentRequest): Promise<AgentOutcome> {
      log.push(`${request.kind} ${hostId}`);
      const host = hosts[hostId];
      if (host === undefined || host === 'silent' || host === 'gone') throw new Error('away');
      return { kind: 'taken', word: host };
    },
  });
  return { arbiter, log };
}

test.each<[string, Host, Host, object | undefined]>([
  ['the target has it', given, holds(2), { kind: 'relay', message: { kind: 'received' } }],
  ['the target ended it', given, ended, { kind: 'relay', message: { kind: 'received' } }],
  ['the target refused', given, refused, { kind: 'relay', message: { kind: 'refused' } }],
  ['the target is past it', given, none, { kind: 'relay', message: { kind: 'unknown' } }],
  ['the target is gone', given, 'gone', { kind: 'regrant', epoch: 3, lease: null }],
  ['the target is silent', given, 'silent', undefined],
  ['the target waits', given, reserved, { kind: 'relay', message: { kind: 'give' } }],
])('a source that gave, when %s', async (_, source, target, verdict) => {
  const { arbiter, log } = fleetOf({ s: source, t: target });
  const result = await arbiter.settle(vmId, s);
  if (verdict === undefined) expect(result).toEqual({ kind: 'done', told: undefined });
  else expect(result).toMatchObject({ kind: 'done', told: { verdict } });
  expect(log[0]).toBe('token-query s');
});

test.each<[string, Host, Host, object | undefined]>([
  ['the source gave', reserved, given, { kind: 'relay', message: { kind: 'give' } }],
  ['the source still holds', reserved, holds(1), { kind: 'void' }],
  ['the source is past it', reserved, holds(2), { kind: 'relay', message: { kind: 'settled' } }],
  ['the source is gone', reserved, 'gone', { kind: 'relay', message: { kind: 'settled' } }],
  ['the source is silent', reserved, 'silent', undefined],
  [
    'it refused and the source gave',
    refused,
    given,
    { kind: 'relay', message: { kind: 'refused' } },
  ],
  [
    'it refused and the source is past',
    refused,
    none,
    { kind: 'relay', message: { kind: 'settled' } },
  ],
  [
    'it holds and the source waits',
    holds(2, fromS),
    given,
    { kind: 'relay', message: { kind: 'received' } },
  ],
  [
    'it holds and the source let go',
    holds(2, fromS),
    none,
    { kind: 'relay', message: { kind: 'released' } },
  ],
  ['it holds and nothing is open', holds(2), none, undefined],
])('a target, when %s', async (_, target, source, verdict) => {
  const { arbiter } = fleetOf({ s: source, t: target });
  const result = await arbiter.settle(vmId, t);
  if (verdict === undefined) expect(result).toEqual({ kind: 'done', told: undefined });
  else expect(result).toMatchObject({ kind: 'done', told: { verdict } });
});

const leased: TokenWord = { kind: 'given', move: toT, lease: { untilMs: 1 } };

test('a rewindable VM is granted anew with a lease', async () => {
  const { arbiter, log } = fleetOf(
    { s: leased, t: 'gone' },
    { kind: 'leased', lease: { untilMs: 9 } },
  );
  const { told } = { told: undefined, ...(await arbiter.settle(vmId, s)) };
  expect(told).toMatchObject({ verdict: { kind: 'regrant', epoch: 3, lease: { untilMs: 9 } } });
  expect(log).toEqual(['token-query s', 'lease', 'token-decision s']);
});

test('a rewindable VM that was started anew is discarded', async () => {
  const { arbiter } = fleetOf({ s: leased, t: 'gone' }, { kind: 'overtaken', below: 7 });
  expect(await arbiter.settle(vmId, s)).toMatchObject({
    told: { verdict: { kind: 'discard', below: 7 } },
  });
});

test('without the chunk store nobody is told, and the next round may begin', async () => {
  const { arbiter } = fleetOf({ s: leased, t: 'gone' });
  await expect(arbiter.settle(vmId, s)).rejects.toThrow('no chunk store');
  await expect(arbiter.settle(vmId, s)).rejects.toThrow('no chunk store');
});

test('one round of a VM at a time', async () => {
  const { arbiter } = fleetOf({ s: given, t: holds(2) });
  const first = arbiter.settle(vmId, s);
  expect(await arbiter.settle(vmId, s)).toEqual({ kind: 'busy' });
  await first;
});
