import { expect, test } from 'vitest';
import { HostId } from '../../host-agent/protocol/ids.ts';
import type { EnrolledHost } from './enrolment.ts';
import type { BookedNode } from './underlay-book.ts';
import { UnderlayDesk, type UnderlayPolicy } from './underlay-desk.ts';

const A = HostId.parse('a-000000');
const B = HostId.parse('b-000000');
const WIREGUARD = { kind: 'wireguard', port: 51_820, range: '198.19.0.0/16' } as const;
const never = new AbortController().signal;

function desk(policy: UnderlayPolicy = WIREGUARD) {
  const enrolled = new Set([A, B]);
  let rows: readonly BookedNode[] = [];
  const book = {
    nodes: () => rows,
    put: (row: BookedNode) => {
      rows = [...rows.filter(({ id }) => id !== row.id), row];
    },
    remove: (gone: HostId) => {
      rows = rows.filter(({ id }) => id !== gone);
    },
  };
  const hostsSeenSince = (_: number, role: EnrolledHost['role'] = 'host') =>
    role === 'gateway' ? [] : [...enrolled].map((hostId) => enrolledHost(hostId));
  const made = new UnderlayDesk({ policy, book, enrolment: { hostsSeenSince }, now: () => 0 });
  return { desk: made, enrolled };
}

function enrolledHost(hostId: HostId): EnrolledHost {
  const times = { enrolledAtMs: 0, seenAtMs: 0 };
  return {
    hostId,
    hostname: '',
    machineId: undefined,
    fingerprint: '',
    ...times,
    revoked: false,
    role: 'host',
  };
}

const ask = (publicKey: string, known: string | null = null) => ({
  ...{ publicKey, endpoint: '10.0.0.1', known },
});

function peersIn(answer: Awaited<ReturnType<UnderlayDesk['answer']>>) {
  return answer?.word.kind === 'wireguard'
    ? answer.word.peers.map(({ publicKey }) => publicKey)
    : answer?.word.kind;
}

test('who waits is answered when somebody joins, changes its key, and is revoked', async () => {
  const { desk: asked, enrolled } = desk();
  const alone = await asked.answer({ hostId: A }, ask('a'), never);
  expect(peersIn(alone)).toEqual([]);
  const joining = asked.answer({ hostId: A }, ask('a', alone?.version), never);
  await asked.answer({ hostId: B }, ask('b'), never);
  const two = await joining;
  expect(peersIn(two)).toEqual(['b']);
  const changing = asked.answer({ hostId: A }, ask('a', two?.version), never);
  await asked.answer({ hostId: B }, ask('b2'), never);
  const anew = await changing;
  expect(peersIn(anew)).toEqual(['b2']);
  const revoking = asked.answer({ hostId: A }, ask('a', anew?.version), never);
  enrolled.delete(B);
  asked.changed();
  expect(peersIn(await revoking)).toEqual([]);
});

test('a node keeps its address, and is believed about no other', async () => {
  const { desk: asked } = desk();
  await asked.answer({ hostId: A }, ask('a'), never);
  await asked.answer({ hostId: B }, ask('b'), never);
  await asked.answer({ hostId: A }, ask('a2'), never);
  expect(asked.refusal(A, '198.19.0.1')).toBeUndefined();
  expect(asked.refusal(B, '198.19.0.1')).toContain('restart its agent');
  expect(asked.refusal(A, undefined)).toContain('restart its agent');
});

test('an asking agent that is gone is held no longer', async () => {
  const { desk: asked } = desk({ kind: 'private' });
  const first = await asked.answer({ hostId: A }, ask('a'), never);
  const gone = new AbortController();
  const held = asked.answer({ hostId: A }, ask('a', first?.version), gone.signal);
  gone.abort();
  expect(await held).toEqual(first);
});

test('without a word of the operator there is no gateway', () => {
  expect(desk({ kind: 'undeclared' }).desk.mayHaveGateways).toBe(false);
  expect(desk({ kind: 'private' }).desk.mayHaveGateways).toBe(true);
  expect(desk().desk.mayHaveGateways).toBe(true);
});
