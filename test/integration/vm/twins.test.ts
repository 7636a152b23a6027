/** Clones are not twins: 20 VMs of one template share nothing that should be unique. */
import { expect, test } from 'vitest';
import { adoptVm } from '../../../host-agent/vm/driver.ts';
import { logger, runInGuest, TestFleet, untilIdle } from './test-vm.ts';

const CLONES = 20;
/** The machine that tests must run on has two cores. */
const AT_ONCE = 4;

const SCRIPT = `
  head -c 32 /dev/urandom | base64 -w0; echo
  cat /proc/sys/kernel/random/uuid
  cat /etc/machine-id
  cat /proc/sys/kernel/random/boot_id
  # The guest makes its key in the background; the runner waits for it, and so does this.
  for i in $(seq 300); do [ -s /etc/ssh/ssh_host_ed25519_key.pub ] && break; sleep 0.1; done
  cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub`;

async function readIdentity(fleet: TestFleet): Promise<string[]> {
  const vm = await fleet.start();
  await untilIdle(vm.driver);
  const lines = (await runInGuest(vm, SCRIPT)).split('\n');
  const adopted = await adoptVm(vm.spec.vmDir, { logger });
  if (adopted === undefined) throw new Error('no state to adopt from');
  await fleet.own(adopted).stop('read');
  return lines;
}

test('20 clones share no random bytes, UUIDs, machine ids, boot ids or SSH keys', async () => {
  await using fleet = await TestFleet.create();
  const identities: string[][] = [];
  while (identities.length < CLONES) {
    identities.push(
      ...(await Promise.all(Array.from({ length: AT_ONCE }, () => readIdentity(fleet)))),
    );
  }
  const names = ['random bytes', 'UUID', 'machine id', 'boot id', 'SSH key'];
  for (const [column, name] of names.entries()) {
    const values = identities.map((lines) => lines[column] ?? '');
    expect(values, name).not.toContain('');
    expect(new Set(values).size, name).toBe(CLONES);
  }
});
