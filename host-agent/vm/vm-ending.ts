/** The end of a VM: every release is attempted, and all that failed are told. */
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { cgroupOf, probeCgroup, removeCgroup } from './cgroup.ts';
import { killQemu, type QemuProcess, waitUntilGone } from './launch.ts';
import type { Connections } from './start-sequence.ts';
import type { VmStart } from './vm-driver.ts';
import type { VmFiles } from './vm-files.ts';

const QUIT_TIMEOUT_MS = 1_000;
const KILL_TIMEOUT_MS = 10_000;

export interface Ending {
  readonly spec: VmStart;
  readonly files: VmFiles;
  readonly qemu: QemuProcess | null;
  readonly connections: Connections | undefined;
}

/** Idempotent. Never rejects: answers what could not be released. `state.json` stays. */
export async function endVm(ending: Ending): Promise<readonly unknown[]> {
  const results = [
    ...(await Promise.allSettled([endQemu(ending)])),
    ...(await Promise.allSettled([
      removeLimits(ending.spec),
      rm(ending.files.qemuDir, { recursive: true, force: true }),
      rm(ending.files.agentDir, { recursive: true, force: true }),
      rm(ending.files.log, { force: true }),
    ])),
  ];
  return results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
}

async function endQemu({ qemu, connections }: Ending): Promise<void> {
  const quit = { command: 'quit', answer: z.unknown(), timeoutMs: QUIT_TIMEOUT_MS };
  const asked = await connections?.qmp.call(quit).then(
    () => true,
    () => false,
  );
  if (qemu !== null) {
    const gone = asked === true && (await waitUntilGone(qemu, QUIT_TIMEOUT_MS));
    if (!gone) await killQemu(qemu, KILL_TIMEOUT_MS);
  }
  connections?.qmp.close();
  connections?.guest.close();
}

async function removeLimits(spec: VmStart): Promise<void> {
  await removeCgroup(cgroupOf(spec, await probeCgroup()));
}
