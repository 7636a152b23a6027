/**
 * Programs in the guest of a real agent's VM. QEMU has one port for the guest's agent, which the
 * host-agent is connected to; so the host-agent is ended for it, as by a crash, and started again.
 */
import { join } from 'node:path';
import type { VmId } from '../../../host-agent/protocol/ids.ts';
import { connectGuestAgent } from '../../../host-agent/vm/guest-agent/guest-agent.ts';
import { vmFiles } from '../../../host-agent/vm/vm-files.ts';
import type { MovingAgents } from './moving-agents.ts';

const LIMIT_MS = 60_000;

/** Puts 24 MiB of memory and 8 MiB of disk under a hash that nothing but them gives. */
export const FILL = `
  mkdir -p /mem; mount -t tmpfs -o size=64m none /mem
  dd if=/dev/urandom of=/mem/file bs=1M count=24 status=none
  dd if=/dev/urandom of=/root/file bs=1M count=8 status=none; sync
  sha256sum /mem/file /root/file`;
/** The disk's file read from the disk. */
export const HASH = 'echo 3 > /proc/sys/vm/drop_caches; sha256sum /mem/file /root/file';

/** What the script said; rejects when it failed. The VM is tracked again when it resolves. */
export async function inGuest(
  agents: MovingAgents,
  { vmId, host, script }: { readonly vmId: VmId; readonly host: string; readonly script: string },
): Promise<string> {
  await agents.killAgent(host);
  try {
    const { guestAgentSocket } = vmFiles(join(agents.control.agentDir(host), 'vms', vmId));
    const guest = await connectGuestAgent(guestAgentSocket, AbortSignal.timeout(LIMIT_MS));
    try {
      const exec = { path: '/bin/bash', args: ['-c', script], timeoutMs: LIMIT_MS };
      const { exitCode, stdout, stderr } = await guest.exec(exec);
      if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stdout} ${stderr}`);
      return stdout.trim();
    } finally {
      guest.close();
    }
  } finally {
    agents.startAgent(host);
    await agents.vm(host, vmId, ({ tracking }) => tracking !== undefined);
  }
}
