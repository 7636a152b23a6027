/** The end of a VM: every release is attempted, and all that failed are told. */
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { probeCgroup, removeCgroup } from './cgroup.ts';
import { findQemu, killQemu, type QemuProcess, waitUntilGone } from './launch.ts';
import type { Connections } from './start-sequence.ts';
import type { VmStart } from './vm-driver.ts';
import { type VmFiles, vmFiles } from './vm-files.ts';

const QUIT_TIMEOUT_MS = 1_000;
const KILL_TIMEOUT_MS = 10_000;

export interface Ending {
  readonly spec: Pick<VmStart, 'fleet' | 'place' | 'vmId'>;
  readonly files: VmFiles;
  readonly qemu: QemuProcess | null;
  readonly connections: Connections | undefined;
}

/** Of a VM that nobody drives: its QEMU is found by its socket. */
export async function findRemains(spec: Ending['spec'] & Pick<VmStart, 'vmDir'>): Promise<Ending> {
  const files = vmFiles(spec.vmDir);
  const qemu = (await findQemu(files.qmpSocket)) ?? null;
  return { spec, files, qemu, connections: undefined };
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

async function removeLimits(spec: Ending['spec']): Promise<void> {
  await removeCgroup(spec, await probeCgroup());
}
