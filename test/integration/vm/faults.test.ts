/** What goes wrong under a running VM: each ends with a cause, or goes on. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { JobId } from '../../../host-agent/protocol/ids.ts';
import { adoptVm, startVm } from '../../../host-agent/vm/driver.ts';
import type { VmDriver } from '../../../host-agent/vm/vm-driver.ts';
import {
  logger,
  processExists,
  runInGuest,
  TestFleet,
  until,
  untilIdle,
  untilSaved,
} from './test-vm.ts';

async function adopt(vmDir: string, fleet: TestFleet): Promise<VmDriver> {
  const driver = await adoptVm(vmDir, { logger });
  if (driver === undefined) throw new Error('no state to adopt from');
  return fleet.own(driver);
}

test('QEMU killed by SIGKILL fails the VM with the signal', async () => {
  await using fleet = await TestFleet.create();
  const { driver } = await fleet.start();
  const { qemuPid } = await untilIdle(driver);
  process.kill(qemuPid ?? 0, 'SIGKILL');
  const { why } = await until(driver, ({ phase }) => phase === 'failed');
  expect(why).toContain('SIGKILL');
});

test('a restarted agent adopts the VM that runs, and can end it', async () => {
  await using fleet = await TestFleet.create();
  const { driver, spec } = await fleet.start();
  const before = await until(driver, ({ guestKernel }) => guestKernel !== null);
  driver.detach();
  await untilSaved(spec, driver);
  const adopted = await adopt(spec.vmDir, fleet);
  expect(adopted.snapshot()).toEqual(before);
  await adopted.stop('enough');
  expect(processExists(before.qemuPid ?? 0)).toBe(false);
});

test('a VM that died while the agent was away comes back as failed', async () => {
  await using fleet = await TestFleet.create();
  const { driver, spec } = await fleet.start();
  const { qemuPid } = await untilIdle(driver);
  driver.detach();
  await untilSaved(spec, driver);
  process.kill(qemuPid ?? 0, 'SIGKILL');
  await expect.poll(() => processExists(qemuPid ?? 0)).toBe(false);
  const adopted = await adopt(spec.vmDir, fleet);
  expect(adopted.snapshot()).toMatchObject({
    phase: 'failed',
    why: expect.stringContaining('while the host-agent was away'),
  });
});

test('a folder without a state is not adopted', async () => {
  await using fleet = await TestFleet.create();
  expect(await adoptVm(fleet.dir, { logger })).toBeUndefined();
});

test('a full disk on the host fails the VM with the cause, and never hangs it', async () => {
  await using fleet = await TestFleet.create();
  const spec = await fleet.spec();
  const small = join(fleet.dir, 'small');
  await mkdir(small);
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=0711', 'tmpfs', small]);
  try {
    const vm = { spec: { ...spec, vmDir: join(small, spec.vmId) } };
    const driver = fleet.own(startVm(vm.spec, { logger }));
    await untilIdle(driver);
    // In the background, because the guest is stopped in the middle of it.
    await runInGuest(
      { driver, ...vm },
      '(sleep 1; head -c 80M /dev/urandom > /root/x; sync) >/dev/null 2>&1 </dev/null &',
    );
    const adopted = await adopt(vm.spec.vmDir, fleet);
    const { why } = await until(adopted, ({ phase }) => phase === 'failed');
    expect(why).toContain('disk');
    await adopted.stop('over');
  } finally {
    await execa('umount', ['-l', small]);
  }
});

test('a job is handed in once, and its runner is watched', async () => {
  await using fleet = await TestFleet.create();
  const { driver } = await fleet.start();
  await untilIdle(driver);
  const job = { jobId: JobId.parse('77'), jitConfig: 'bm90LWEtcmVhbC1jb25maWd1cmF0aW9u' };
  expect(await driver.assign(job)).toEqual({ kind: 'taken' });
  expect(await driver.assign(job)).toEqual({ kind: 'taken' });
  expect(await driver.assign({ ...job, jobId: JobId.parse('78') })).toMatchObject({
    kind: 'refused',
  });
  // The stand-in cannot read this configuration, so its runner ends by itself.
  const { assignedJob, runnerStartedAtMs } = await until(
    driver,
    ({ runner }) => runner.state === 'exited',
  );
  expect(assignedJob).toBe('77');
  expect(runnerStartedAtMs).not.toBeNull();
});
