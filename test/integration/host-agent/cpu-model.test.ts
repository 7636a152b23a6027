/**
 * A host whose QEMU cannot offer the whole of a pool's CPU model: nothing of a move begins there. The
 * agent is a process, its report of what its QEMU offers is a real one.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HostId, MigrationId, VmId } from '../../../host-agent/protocol/ids.ts';
import type { ReceiveVm } from '../../../host-agent/protocol/migration-messages.ts';
import { pool } from '../../fixtures/protocol.ts';
import { TestFleet, until } from './agent-fleet.ts';

const vmId = VmId.parse('vm-00000001');
const size = { vcpus: 1, memoryMib: 512, diskGib: 1, arch: 'x64' } as const;
const secret = Buffer.alloc(32).toString('base64');

function receiveVm(wanted: ReturnType<typeof pool>): ReceiveVm {
  const migrationId = MigrationId.parse('mig-1');
  return {
    ...{ kind: 'receive-vm', migrationId, vmId, epoch: 2, from: HostId.parse('h-other') },
    ...{ credential: secret, class: size, pool: wanted, assignedJob: null },
    ...{ key: { plain: secret, wrapped: '' }, deadlineMs: Date.now() + 60_000 },
  };
}

async function openFleet(wanted?: ReturnType<typeof pool>): Promise<TestFleet> {
  const place = { address: '127.0.0.1', ...(wanted === undefined ? {} : { pool: wanted }) };
  const control = await TestFleet.open(place);
  const tokenFile = await control.writeToken('one', control.issueToken());
  void control.startAgent('one', { ARCHITECT_AGENT_TOKEN_FILE: tokenFile });
  return control;
}

async function expectNothingOf(control: TestFleet): Promise<void> {
  for (const folder of ['vms', 'journal']) {
    const found = await readdir(join(control.agentDir('one'), folder)).catch(() => []);
    expect(found).toEqual([]);
  }
}

test('a host that lacks features of the model is in no pool, and is asked for nothing', async () => {
  // Under emulation no CPU with AVX-512 is complete.
  const wanted = pool({ cpuModel: 'Skylake-Server-v5' });
  const control = await openFleet(wanted);
  try {
    const host = await until('a host that is turned away', () =>
      control.fleet.hosts().find(({ state }) => state === 'turned-away'),
    );
    expect(host.turnedAwayWhy).toMatch(/cannot offer the whole CPU model Skylake-Server-v5/);
    await expect(control.request(host, receiveVm(wanted))).rejects.toThrow(/in no pool/);
    await expectNothingOf(control);
  } finally {
    await control.close();
  }
});

test('a host refuses a VM of another CPU model before it reserves anything', async () => {
  const control = await openFleet();
  try {
    const { image, template } = control.pool;
    const host = await control.host(({ report }) =>
      [image, template].every((digest) => report?.artifacts.includes(digest)),
    );
    for (const cpuModel of ['Nehalem', 'Westmere']) {
      const other = pool({
        ...control.pool,
        cpuModel,
        id: `small-x64-tcg-${cpuModel}`.toLowerCase(),
      });
      const why = expect.stringMatching(/This host is in pool small-x64-tcg-qemu64/);
      expect(await control.request(host, receiveVm(other))).toEqual({ kind: 'refused', why });
    }
    await expectNothingOf(control);
  } finally {
    await control.close();
  }
});
