/** Moves as the control plane carries them out, against hosts that answer as agents do. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { HostId, JobId, MigrationId, type VmId } from '../../../host-agent/protocol/ids.ts';
import type { AgentRequest } from '../../../host-agent/protocol/messages.ts';
import { ERA } from '../../../host-agent/protocol/token-messages.ts';
import { startTestRedis, type TestRedis } from '../records/redis-server.ts';
import { FIGURES, World } from './world.ts';

const until = <T>(check: () => T | Promise<T>) =>
  vi.waitFor(check, { timeout: 20_000, interval: 20 });
const JOB = JobId.parse('1');
const [ONE, TWO] = [HostId.parse('host-1'), HostId.parse('host-2')];
const THREE = HostId.parse('host-3');

let redis: TestRedis;
let world: World;
let count = 0;

beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await redis?.stop();
});
beforeEach(() => {
  count += 1;
  world = new World(redis, `m${count}`);
});
afterEach(async () => {
  await world.close();
});

/** Job 1 runs in a VM on host-1. */
async function runningVm(): Promise<VmId> {
  world.newReconciler().start();
  await world.tell(world.github.set(1, 'queued'));
  const vmId = await until(() => {
    const found = [...world.fleet.vms.values()].find(({ report }) => report.phase === 'assigned');
    if (found === undefined) throw new Error('no VM is assigned');
    expect(found.hostId).toBe(ONE);
    return found.report.vmId;
  });
  await world.tell(world.github.set(1, 'in_progress', vmId));
  await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ phase: 'busy' }));
  return vmId;
}

function interrupt(hostId: HostId, inMs = 60_000): void {
  const nowMs = Date.now();
  const notice = { kind: 'interruption', source: 'ec2', seenAtMs: nowMs } as const;
  world.fleet.notices.set(hostId, { ...notice, deadlineMs: nowMs + inMs });
  world.fleet.changed();
}

/** A move that does not end before the test lets it: its source was just told to send. */
async function moveUnderWay(): Promise<MigrationId> {
  const [sent] = await until(() => {
    expect(requests('send-vm')).toHaveLength(1);
    return requests('send-vm');
  });
  return MigrationId.parse(sent?.migrationId);
}

async function withThreeHosts(): Promise<void> {
  await world.close();
  world = new World(redis, `m${count}-of-three`, [ONE, TWO, THREE]);
}

function requests<K extends AgentRequest['kind']>(kind: K) {
  return world.fleet.requests.filter(
    (request): request is Extract<AgentRequest, { kind: K }> => request.kind === kind,
  );
}

async function finish(vmId: VmId): Promise<void> {
  await world.tell(world.github.set(1, 'completed', vmId));
  await until(async () => {
    expect(world.fleet.vms.size + world.fleet.left.size).toBe(0);
    expect(await world.store.listVms()).toEqual([]);
  });
  expect(await world.store.readJob(JOB)).toMatchObject({ state: 'completed' });
  expect(world.fleet.countOf('start-vm')).toBe(1);
  expect(world.lost).toEqual([]);
}

describe('moves', () => {
  it('takes a VM off a host with a notice, with its evidence, and keeps its secrets', async () => {
    const vmId = await runningVm();
    interrupt(ONE);
    await until(async () =>
      expect(await world.store.readVm(vmId)).toMatchObject({
        hostId: TWO,
        epoch: 2,
        phase: 'busy',
      }),
    );
    const [started] = requests('start-vm');
    const [received] = requests('receive-vm');
    const [sent] = requests('send-vm');
    expect(received).toMatchObject({ epoch: 2, from: ONE, assignedJob: '1', key: started?.key });
    expect(sent).toMatchObject({ epoch: 2, to: TWO, credential: received?.credential });
    expect(world.evidence.movesOf(JOB)).toMatchObject([
      { phase: 'done', from: ONE, to: TWO, ...FIGURES },
    ]);
    const moments = world.evidence.timeline(JOB).map(({ moment }) => moment);
    expect(moments).toEqual(expect.arrayContaining(['notice', 'moving', 'moved']));
    const log = world.lines.join('');
    expect(log).not.toContain(received?.credential);
    expect(log).not.toContain(started?.key?.plain);
    await finish(vmId);
  });

  it('moves a VM early when its cloud only hints that it may take the host back', async () => {
    const vmId = await runningVm();
    const hint = { kind: 'rebalance', deadlineMs: null, source: 'ec2' } as const;
    world.fleet.notices.set(ONE, { ...hint, seenAtMs: Date.now() });
    world.fleet.changed();
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    expect(world.evidence.movesOf(JOB)).toMatchObject([
      { kind: 'live', phase: 'done', because: expect.stringMatching(/may be taken back soon/) },
    ]);
    await finish(vmId);
  });

  it('tells the old host to forget its copy', async () => {
    const vmId = await runningVm();
    const before = world.fleet.vms.get(vmId);
    interrupt(ONE);
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    if (before === undefined) throw new Error('no VM');
    world.fleet.left.set(vmId, { hostId: ONE, report: { ...before.report, phase: 'stopped' } });
    world.fleet.changed();
    await until(() => expect(world.fleet.left.size).toBe(0));
    expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO, phase: 'busy' });
    await finish(vmId);
  });

  it.each([
    ['refused it for good', 'refused'],
    ['is gone', 'regrant'],
  ] as const)('brings a given VM back to its source when its target %s', async (_, verdict) => {
    world.fleet.movesAtOnce = false;
    const vmId = await runningVm();
    interrupt(ONE);
    const migrationId = await moveUnderWay();
    const epoch = 2;
    const given = {
      kind: 'given',
      move: { migrationId, epoch, hostId: TWO },
      lease: null,
    } as const;
    const refused = {
      kind: 'refused',
      move: { migrationId, epoch, hostId: ONE },
      why: 'full',
    } as const;
    world.fleet.intercept = (hostId, request) => {
      if (request.kind === 'token-decision') world.fleet.tokens.clear();
      if (request.kind !== 'token-query') return undefined;
      return Promise.resolve({ kind: 'taken', word: hostId === ONE ? given : refused });
    };
    if (verdict === 'regrant') {
      world.fleet.connected.delete(TWO);
      world.fleet.gone.add(TWO);
    }
    world.fleet.tokens.set(ONE, [{ vmId, word: given, doubt: true }]);
    world.fleet.say(migrationId, 'source', { phase: 'committed' });
    await until(() => expect(requests('token-decision')).not.toEqual([]));
    const [decision] = requests('token-decision');
    expect(decision).toMatchObject({ vmId });
    expect(JSON.stringify(decision?.verdict)).toContain(`"kind":"${verdict}"`);
    world.fleet.notices.clear();
    world.fleet.say(migrationId, 'source', { phase: 'aborted', why: 'The target refused the VM.' });
    await until(() =>
      expect(world.evidence.movesOf(JOB)).toMatchObject([{ phase: 'aborted', given: true }]),
    );
    expect(await world.store.readVm(vmId)).toMatchObject({ hostId: ONE, phase: 'busy' });
    await finish(vmId);
  });

  it.each(['receive-vm', 'send-vm'] as const)('tries again after %s was refused', async (kind) => {
    let refusals = 0;
    world.config = { moveRetryMs: 100 };
    world.fleet.intercept = (_host, request) => {
      if (request.kind !== kind || refusals > 0) return undefined;
      refusals += 1;
      return Promise.resolve({ kind: 'refused', why: 'no memory' });
    };
    const vmId = await runningVm();
    interrupt(ONE);
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    expect(world.evidence.movesOf(JOB)).toMatchObject([
      { phase: 'aborted', epoch: 2, why: expect.stringContaining('no memory') },
      { phase: 'done', epoch: 3 },
    ]);
    if (kind === 'send-vm') expect(world.fleet.countOf('abort-migration')).toBe(1);
    await finish(vmId);
  });

  it.each(['receive-vm', 'send-vm', 'park-vm', 'resume-vm'] as const)(
    'goes on after a process was dropped while it asked for %s',
    async (kind) => {
      let dropped = false;
      world.config = { handshakeLimitMs: 200, moveRetryMs: 100 };
      world.fleet.intercept = (_host, request) => {
        if (request.kind !== kind || dropped) return undefined;
        dropped = true;
        return new Promise((_, reject) => {
          world.fleet.stopping.signal.addEventListener('abort', () => reject(new Error('gone')));
        });
      };
      const vmId = await runningVm();
      const parks = kind === 'park-vm' || kind === 'resume-vm';
      if (parks) world.fleet.connected.delete(TWO);
      interrupt(ONE, parks ? 4_000 : 60_000);
      if (kind === 'resume-vm') {
        await until(() => expect(world.evidence.movesOf(JOB)).toMatchObject([{ phase: 'parked' }]));
        world.fleet.connected.add(TWO);
        world.fleet.changed();
      }
      await until(() => expect(dropped).toBe(true));
      world.fleet.stopping.abort();
      await world.stopAll();
      if (kind === 'park-vm') {
        world.fleet.connected.add(TWO);
        world.fleet.connected.delete(ONE);
        world.fleet.gone.add(ONE);
      }
      world.newReconciler().start();
      await until(async () =>
        expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }),
      );
      const epochs = world.evidence.movesOf(JOB).map(({ epoch }) => epoch);
      expect(epochs).toEqual([...new Set(epochs)].toSorted());
      await finish(vmId);
    },
  );

  it('parks what no host has room for, and resumes it on the next one', async () => {
    const vmId = await runningVm();
    world.fleet.connected.delete(TWO);
    interrupt(ONE, 4_000);
    await until(() => expect(world.evidence.movesOf(JOB)).toMatchObject([{ phase: 'parked' }]));
    world.fleet.connected.delete(ONE);
    world.fleet.gone.add(ONE);
    await redis.connect().flushall();
    world.fleet.connected.add(TWO);
    world.fleet.changed();
    await until(async () =>
      expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO, phase: 'busy' }),
    );
    expect(requests('resume-vm')).toMatchObject([{ from: 'parked', epoch: 2 }]);
    expect(requests('resume-vm')[0]?.key).toEqual(requests('start-vm')[0]?.key);
    expect(world.evidence.movesOf(JOB)).toMatchObject([{ phase: 'done', kind: 'park' }]);
    await finish(vmId);
  });

  it.each([
    ['emptied', () => redis.connect().flushall()],
    ['killed', () => redis.crash()],
  ])('rebuilds a move under way when Redis is %s, and begins no other', async (_, lose) => {
    world.fleet.movesAtOnce = false;
    const vmId = await runningVm();
    interrupt(ONE);
    const id = await moveUnderWay();
    await lose();
    await until(async () =>
      expect(await world.store.readMigration(id)).toMatchObject({ phase: 'precopy' }),
    );
    world.fleet.commit(id);
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    expect(requests('receive-vm')).toHaveLength(1);
    await finish(vmId);
  });

  it('takes a VM to the one host that stays when two get their notices at once', async () => {
    await withThreeHosts();
    const vmId = await runningVm();
    interrupt(TWO);
    interrupt(ONE);
    await until(async () =>
      expect(await world.store.readVm(vmId)).toMatchObject({ hostId: THREE, phase: 'busy' }),
    );
    expect(world.evidence.movesOf(JOB)).toMatchObject([{ phase: 'done', from: ONE, to: THREE }]);
    await finish(vmId);
  });

  it('lets a move go on whose source gets its notice in the middle', async () => {
    world.fleet.movesAtOnce = false;
    const vmId = await runningVm();
    world.evidence.setDrained(ONE, true, 1);
    const id = await moveUnderWay();
    interrupt(ONE);
    await until(() =>
      expect(world.evidence.timeline(JOB).map(({ moment }) => moment)).toContain('notice'),
    );
    world.fleet.commit(id);
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    expect(world.evidence.movesOf(JOB)).toMatchObject([{ id, phase: 'done' }]);
    await finish(vmId);
  });

  it('moves a VM elsewhere whose target is reclaimed in the middle', async () => {
    await withThreeHosts();
    world.fleet.movesAtOnce = false;
    const vmId = await runningVm();
    interrupt(ONE);
    const id = await moveUnderWay();
    world.fleet.movesAtOnce = true;
    interrupt(TWO, 10_000);
    await until(async () =>
      expect(await world.store.readVm(vmId)).toMatchObject({ hostId: THREE, phase: 'busy' }),
    );
    expect(world.evidence.movesOf(JOB)).toMatchObject([
      { id, phase: 'aborted', to: TWO, epoch: 2 },
      { phase: 'done', from: ONE, to: THREE, epoch: 3 },
    ]);
    await finish(vmId);
  });

  it('does not take the source’s end for the VM’s while it moves', async () => {
    world.fleet.movesAtOnce = false;
    const vmId = await runningVm();
    interrupt(ONE);
    const id = await moveUnderWay();
    world.fleet.say(id, 'source', { phase: 'committed' });
    world.fleet.change(vmId, { phase: 'stopped', why: 'It went over.' });
    await until(async () =>
      expect(await world.store.readMigration(id)).toMatchObject({ given: true }),
    );
    world.fleet.change(vmId, { phase: 'assigned', why: null });
    world.fleet.commit(id);
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    await finish(vmId);
  });

  it('rewinds only a job that opted in, once the provider says that its host is gone', async () => {
    world.labels = ['architect/rewind=true'];
    const vmId = await runningVm();
    expect(requests('start-vm')).toMatchObject([{ rewindable: true }]);
    const lastCheckpoint = { epoch: 1, generation: 1, atMs: Date.now() };
    world.fleet.change(vmId, {
      tracking: { bytesUnsealed: 1, bytesInStore: 1, dirtyBytesPerSecond: 0, lastCheckpoint },
    });
    await until(async () =>
      expect(await world.store.readVm(vmId)).toMatchObject({
        lastCheckpointAtMs: lastCheckpoint.atMs,
      }),
    );
    world.fleet.connected.delete(ONE);
    world.fleet.gone.add(ONE);
    world.fleet.changed();
    await until(async () =>
      expect(await world.store.readVm(vmId)).toMatchObject({
        hostId: TWO,
        phase: 'busy',
        epoch: ERA,
      }),
    );
    const resumed = { from: 'rewound', epoch: ERA, rewindable: true };
    expect(requests('resume-vm')).toMatchObject([resumed]);
    await finish(vmId);
  });

  it('loses the job of a host that is gone, with the reason, where nothing was kept', async () => {
    await runningVm();
    world.fleet.connected.delete(ONE);
    world.fleet.gone.add(ONE);
    world.fleet.changed();
    await until(() =>
      expect(world.lost).toEqual([expect.stringMatching(/is gone.*no checkpoint/)]),
    );
    expect(world.fleet.countOf('resume-vm')).toBe(0);
  });

  it('empties a drained host and gives it nothing until that is undone', async () => {
    const vmId = await runningVm();
    world.evidence.setDrained(ONE, true, 1);
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    await finish(vmId);
  });

  it('moves a VM because an operator wished it, once', async () => {
    const vmId = await runningVm();
    const id = MigrationId.parse('mig-wish');
    world.evidence.rememberWish({
      ...{ id, vmId, to: null, deadlineMs: null, askedAtMs: Date.now(), state: 'open', why: null },
    });
    await until(async () => expect(await world.store.readVm(vmId)).toMatchObject({ hostId: TWO }));
    expect(world.evidence.readWish(id)).toMatchObject({ state: 'begun' });
    expect(world.evidence.movesOf(JOB)).toMatchObject([{ id, phase: 'done' }]);
    await finish(vmId);
  });
});
