import { setImmediate as yieldTurn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { closeInstallations } from '../../../app/intake/close-installation.ts';
import { DONE_PAUSE_MS } from '../../../app/reconciler/step-runner.ts';
import { JobId, type VmId } from '../../../host-agent/protocol/ids.ts';
import { startTestRedis, type TestRedis } from '../records/redis-server.ts';
import { World } from './world.ts';

const until = (check: () => void | Promise<void>) =>
  vi.waitFor(check, { timeout: 20_000, interval: 20 });

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
  world = new World(redis, `w${count}`);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await world.close();
});

async function assignedVm(): Promise<VmId> {
  await until(() => {
    expect([...world.fleet.vms.values()].map((vm) => vm.report.phase)).toContain('assigned');
  });
  const found = [...world.fleet.vms.values()].find((vm) => vm.report.phase === 'assigned');
  if (found === undefined) throw new Error('no VM is assigned');
  return found.report.vmId;
}

async function stateOf(id: number): Promise<string | undefined> {
  return (await world.store.readJob(JobId.parse(String(id))))?.state;
}

describe('reconciler', () => {
  it('takes a job from queued to green and leaves nothing behind', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    await world.tell(world.github.set(1, 'in_progress', vmId));
    await world.tell(world.github.set(1, 'completed', vmId));
    await until(async () => {
      expect(world.fleet.vms.size).toBe(0);
      expect(await world.store.listVms()).toEqual([]);
      expect(world.github.runners.size).toBe(0);
    });
    expect(await stateOf(1)).toBe('completed');
    expect(world.github.mints).toBe(1);
    expect(world.fleet.countOf('start-vm')).toBe(1);
    expect(world.secretWasLogged).toBe(false);
    const moments = world.evidence.timeline(JobId.parse('1')).map(({ moment }) => moment);
    expect(moments).toEqual(
      expect.arrayContaining(['vm-requested', 'guest-ready', 'runner-assigned', 'completed']),
    );
  });

  it('serves a second job while the first one’s host answers nothing', async () => {
    let first: string | undefined;
    world.fleet.intercept = (_host, request) => {
      if (request.kind !== 'start-vm') return undefined;
      first ??= request.vmId;
      return request.vmId === first
        ? new Promise((_, reject) => world.fleet.stopping.signal.addEventListener('abort', reject))
        : undefined;
    };
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    await until(() => expect(first).toBeDefined());
    await world.tell(world.github.set(2, 'queued'));
    expect(await assignedVm()).not.toBe(first);
    world.fleet.stopping.abort();
  });

  it('loses nothing when Redis is emptied in mid-job', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    await world.tell(world.github.set(1, 'in_progress', vmId));
    await redis.connect().flushall();
    await until(async () => {
      expect(await stateOf(1)).toBe('in-progress');
      expect(await world.store.listVms()).toMatchObject([{ id: vmId, phase: 'busy' }]);
    });
    expect(world.fleet.countOf('stop-vm')).toBe(0);
    await world.tell(world.github.set(1, 'completed', vmId));
    await until(() => expect(world.fleet.vms.size).toBe(0));
    expect(world.fleet.countOf('start-vm')).toBe(1);
    expect(await stateOf(1)).toBe('completed');
    expect(world.lost).toEqual([]);
  });

  it('records a job whose VM died with its cause, and never starts it again', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    await world.tell(world.github.set(1, 'in_progress', vmId));
    world.fleet.change(vmId, { phase: 'failed', why: 'QEMU died: signal 9' });
    await until(() =>
      expect(world.lost).toEqual([expect.stringMatching(/^1: QEMU died: signal 9\. To run/)]),
    );
    await until(async () => expect(await world.store.listVms()).toEqual([]));
    expect(world.lines).toContainEqual(
      expect.stringMatching(/"jobId":"1","vmId":"vm-.*"cause":"QEMU died: signal 9".*is lost/),
    );
    expect(world.fleet.countOf('start-vm')).toBe(1);
  });

  it.each([
    ['wanted by the operator', true, 'architect', ['1']],
    ['marked by its author', true, 'architect/rerun=false', []],
    ['not wanted', false, 'architect', []],
  ])('has a lost job run again: %s', async (_, rerunLost, label, ids) => {
    world.rerunLost = rerunLost;
    world.labels = [label];
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    await world.tell(world.github.set(1, 'in_progress', vmId));
    world.fleet.change(vmId, { phase: 'failed', why: 'QEMU died' });
    await until(async () => expect(await stateOf(1)).toBe('lost'));
    expect(world.evidence.jobsToRerun().map(({ id }) => id)).toEqual(ids);
  });

  it('still knows the cause when the VM was settled before its in_progress came', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    world.fleet.change(vmId, { phase: 'failed', why: 'QEMU died: signal 9' });
    await until(async () => {
      expect((await world.store.listVms()).map(({ id }) => id)).not.toContain(vmId);
    });
    await world.tell(world.github.set(1, 'in_progress', vmId));
    await until(() =>
      expect(world.lost).toEqual([expect.stringMatching(/^1: QEMU died: signal 9\. To run/)]),
    );
  });

  it('gives a job another VM when the first dies before the job ran', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    world.fleet.change(vmId, { phase: 'failed', why: 'QEMU died' });
    await until(async () => expect(await assignedVm()).not.toBe(vmId));
    expect(world.github.mints).toBe(2);
  });

  it('gives a job another VM at once when a stranger’s takes its runner, and lets that one end', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    await world.tell(world.github.set(99, 'in_progress', vmId));
    world.fleet.change(vmId, { phase: 'busy' });
    await until(async () => expect(await assignedVm()).not.toBe(vmId));
    expect(world.fleet.countOf('stop-vm')).toBe(0);
    await world.tell(world.github.set(99, 'completed', vmId));
    await until(() => expect(world.fleet.vms.has(vmId)).toBe(false));
    expect(await stateOf(1)).toBe('queued');
  });

  it('registers no second runner after a look that began before the first was handed in', async () => {
    const { now } = Date;
    let aheadMs = 0;
    vi.spyOn(Date, 'now').mockImplementation(() => now.call(Date) + aheadMs);
    const looked = Promise.withResolvers<void>();
    let asked = false;
    let looksSince = 0;
    world.fleet.intercept = (_host, request) => {
      if (request.kind !== 'assign-job' || asked) return undefined;
      asked = true;
      return looked.promise.then(() => {
        world.fleet.change(request.vmId, { phase: 'assigned', runner: { state: 'running' } });
        return { kind: 'taken' };
      });
    };
    const listVms = world.store.listVms.bind(world.store);
    vi.spyOn(world.store, 'listVms').mockImplementation(async () => {
      const vms = await listVms();
      if (aheadMs > 0) looksSince += 1;
      if (asked && aheadMs === 0) {
        looked.resolve();
        const moments = () => world.evidence.timeline(JobId.parse('1')).map(({ moment }) => moment);
        await until(() => expect(moments()).toContain('runner-assigned'));
        await world.evidence.written();
        await yieldTurn();
        aheadMs = DONE_PAUSE_MS;
      }
      return vms;
    });
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    await until(() => expect(looksSince).toBeGreaterThan(2));
    expect(world.github.mints).toBe(1);
  });

  it('refuses a job whose labels GitHub takes no runner with, and tells its author', async () => {
    world.github.refuses = 'not these labels';
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    await until(async () => expect(await stateOf(1)).toBe('refused'));
    await until(() => expect(world.fleet.vms.size).toBe(0));
    expect(world.refused).toEqual(['1: not these labels']);
  });

  it('registers runners at the pace that GitHub takes them', async () => {
    world.github.mintsLeft = 1;
    const reconciler = world.newReconciler();
    reconciler.start();
    for (const id of [1, 2, 3]) await world.tell(world.github.set(id, 'queued'));
    const idle = () =>
      [...world.fleet.vms.values()].filter(({ report }) => report.phase === 'idle');
    await until(() => expect(world.github.mints).toBe(1));
    await until(() => expect(world.github.mintsLeft).toBeLessThan(-5));
    expect(idle()).toHaveLength(2);
    expect(world.github.mints).toBe(1);
    const causes = () =>
      ['1', '2', '3'].map((id) => reconciler.whyWaiting(JobId.parse(id))?.cause).toSorted();
    await until(() => expect(causes()).toEqual(['github', 'jit-paced', 'jit-paced']));
    world.github.mintsLeft = 2;
    await until(() => expect(world.github.mints).toBe(3));
  });

  it('lets a suspended App’s running job end, and stops what waits for it', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const atWork = await assignedVm();
    await world.tell(world.github.set(1, 'in_progress', atWork));
    world.fleet.change(atWork, { phase: 'busy' });
    await world.tell(world.github.set(2, 'queued'));
    const waiting = await assignedVm();
    world.github.denies = true;
    const whyClosed = () => 'suspended';
    await closeInstallations({ book: world.book, whyClosed, nowMs: Date.now() });
    await until(() => expect(world.fleet.vms.has(waiting)).toBe(false));
    expect(world.fleet.vms.has(atWork)).toBe(true);
    expect([await stateOf(1), await stateOf(2)]).toEqual(['in-progress', 'completed']);
  });

  it('stops the VM of a cancelled job, but not one whose runner GitHub calls busy', async () => {
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    const vmId = await assignedVm();
    world.github.busyRunners.add(`architect-${vmId}`);
    await world.tell(world.github.set(1, 'completed'));
    await until(() => expect(world.lines.join('')).toContain('RUNNER_BUSY'));
    expect(world.fleet.countOf('stop-vm')).toBe(0);
    world.github.busyRunners.clear();
    await until(() => expect(world.fleet.vms.size).toBe(0));
  });

  it('removes the runner and stops the VM that refuses its job', async () => {
    let refusals = 0;
    world.fleet.intercept = (_host, request) => {
      if (request.kind !== 'assign-job' || refusals > 0) return undefined;
      refusals += 1;
      return Promise.resolve({ kind: 'refused', why: 'no such port' });
    };
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    await assignedVm();
    expect(world.github.mints).toBe(2);
    await until(() => expect(world.github.runners.size).toBe(1));
  });

  it('acts once although two reconcilers run', async () => {
    world.newReconciler().start();
    world.newReconciler().start();
    await world.tell(world.github.set(1, 'queued'));
    await assignedVm();
    expect(world.fleet.countOf('start-vm')).toBe(1);
    expect(world.github.mints).toBe(1);
  });

  it.each(['start-vm', 'assign-job', 'stop-vm', 'forget-vm'] as const)(
    'goes on after a process was dropped while it asked for %s',
    async (kind) => {
      let dropped = false;
      world.fleet.intercept = (_host, request) => {
        if (request.kind !== kind || dropped) return undefined;
        dropped = true;
        return new Promise((_, reject) => {
          world.fleet.stopping.signal.addEventListener('abort', () => reject(new Error('gone')));
        });
      };
      const first = world.newReconciler();
      first.start();
      await world.tell(world.github.set(1, 'queued'));
      const drop = async () => {
        await until(() => expect(dropped).toBe(true));
        world.fleet.stopping.abort();
        await first.stop();
        world.newReconciler().start();
      };
      if (kind === 'start-vm' || kind === 'assign-job') await drop();
      const vmId = await assignedVm();
      await world.tell(world.github.set(1, 'in_progress', vmId));
      await world.tell(world.github.set(1, 'completed', vmId));
      if (kind === 'stop-vm' || kind === 'forget-vm') await drop();
      await until(async () => {
        expect(world.fleet.vms.size).toBe(0);
        expect(await world.store.listVms()).toEqual([]);
        expect(world.github.runners.size).toBe(0);
      });
    },
  );
});
