/** A VM from its template to its end: size, confinement, limits, and nothing left over. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { leastMemoryMib } from '../../../host-agent/protocol/instance-class.ts';
import { memoryLimitBytes, probeCgroup } from '../../../host-agent/vm/cgroup.ts';
import { adoptVm } from '../../../host-agent/vm/driver.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { vmFiles } from '../../../host-agent/vm/vm-files.ts';
import { logger, processExists, runInGuest, TestFleet, until, untilIdle } from './test-vm.ts';

function readStatus(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n');
  return Object.fromEntries(lines.map((line) => line.split(':\t')).filter(([, value]) => value));
}

test('a clone is grown to its class and the guest sees all of it', async () => {
  await using fleet = await TestFleet.create();
  const vm = await fleet.start({ vcpus: 2, memoryMib: 5120, diskGib: 3 });
  await until(vm.driver, ({ guestKernel }) => guestKernel !== null);
  // The guest brings hardware online by itself, some time after it is plugged.
  const script = `
    for i in $(seq 300); do
      cpus=$(nproc); mem=$(( $(grep -c . <(grep -l online /sys/devices/system/memory/memory*/state)) * 128 ))
      disk=$(( $(cat /sys/block/vda/size) / 2097152 ))
      [ "$cpus $mem $disk" = "2 5120 3" ] && break
      sleep 0.1
    done
    echo "$cpus $mem $disk"`;
  expect(await runInGuest(vm, script)).toBe('2 5120 3');
  await adoptAndStop(vm, fleet);
});

async function adoptAndStop(vm: Awaited<ReturnType<TestFleet['start']>>, fleet: TestFleet) {
  const adopted = await adoptVm(vm.spec.vmDir, { logger });
  if (adopted === undefined) throw new Error('no state to adopt from');
  await fleet.own(adopted).stop('the test is over');
}

test('QEMU is confined, limited, and gone without a trace after the stop', async () => {
  await using fleet = await TestFleet.create();
  const { driver, spec } = await fleet.start();
  const { qemuPid } = await untilIdle(driver);
  const pid = qemuPid ?? 0;
  const status = readStatus(pid);
  expect(status.Seccomp).toBe('2');
  expect(status.NoNewPrivs).toBe('1');
  const user = String(qemuUser(spec.vmId));
  expect(status.Uid?.split('\t')).toEqual([user, user, user, user]);
  // What another VM's QEMU, taken over, would try.
  const other = String(qemuUser('vm-of-another-job'));
  const peek = [
    '--clear-groups',
    `--reuid=${other}`,
    `--regid=${other}`,
    'ls',
    vmFiles(spec.vmDir).qemuDir,
  ];
  await expect(execa('setpriv', peek)).rejects.toThrow('Permission denied');
  for (const set of ['CapEff', 'CapPrm', 'CapBnd', 'CapInh', 'CapAmb']) {
    expect(status[set], set).toBe('0000000000000000');
  }
  const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
  expect(environment.map((pair) => pair.split('=')[0]).toSorted()).toEqual([
    'ARCHITECT_FLEET',
    'PATH',
  ]);

  const version = await probeCgroup();
  expect(version).not.toBe('none');
  const memory = join(version === 'v1' ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup', 'architect');
  const group = join(memory, 'test', spec.vmId);
  const limit = version === 'v1' ? 'memory.limit_in_bytes' : 'memory.max';
  expect(Number(readFileSync(join(group, limit), 'utf8'))).toBe(
    memoryLimitBytes(leastMemoryMib('tcg')),
  );
  expect(readFileSync(join(group, 'cgroup.procs'), 'utf8').trim()).toBe(String(pid));

  await driver.stop('the test is over');
  expect(driver.snapshot()).toMatchObject({ phase: 'stopped', why: 'the test is over' });
  expect(processExists(pid)).toBe(false);
  expect(existsSync(group)).toBe(false);
  expect(readdirSync(spec.vmDir)).toEqual(['state.json']);
});

test('a stop in the middle of the start leaves nothing either', async () => {
  await using fleet = await TestFleet.create();
  const { driver, spec } = await fleet.start();
  const { qemuPid } = await until(driver, ({ phase }) => phase === 'starting');
  await driver.stop('not wanted any more');
  expect(driver.snapshot().phase).toBe('stopped');
  expect(processExists(qemuPid ?? 0)).toBe(false);
  expect(readdirSync(spec.vmDir)).toEqual(['state.json']);
});

test('a VM that cannot be started fails with its cause', async () => {
  await using fleet = await TestFleet.create();
  const spec = await fleet.spec();
  const { startVm } = await import('../../../host-agent/vm/driver.ts');
  const network = { ...spec.network, tapName: 'tap9' };
  const driver = fleet.own(startVm({ ...spec, network }, { logger }));
  const { why } = await until(driver, ({ phase }) => phase === 'failed');
  expect(why).toContain('tap9');
});
