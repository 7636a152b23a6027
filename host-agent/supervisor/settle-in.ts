/** A guest was let run here that has run elsewhere: what follows is in nobody's way any more. */
import type { Logger } from 'pino';
import type { ArrivedVm } from '../migration/arriving-vm.ts';
import type { VmData } from '../migration/worker/vm-data.ts';
import { driveArrived } from '../vm/driver.ts';
import { connectGuestAgent } from '../vm/guest-agent/guest-agent.ts';
import { setClock } from '../vm/guest-steps.ts';
import type { VmDriver } from '../vm/vm-driver.ts';
import { vmFiles } from '../vm/vm-files.ts';

const GUEST_CONNECT_MS = 10_000;

/**
 * The driver, the tracking (by `adopt`), the guest's clock. Rejects when it cannot be driven; a clock
 * that cannot be set is logged.
 */
export async function settleIn(
  { memory, qemu, qmp, data }: ArrivedVm,
  {
    adopt,
    logger,
  }: {
    readonly adopt: (driver: VmDriver, data: VmData) => void;
    readonly logger: Logger;
  },
): Promise<void> {
  const { guestAgentSocket } = vmFiles(memory.spec.vmDir);
  const guest = await connectGuestAgent(guestAgentSocket, AbortSignal.timeout(GUEST_CONNECT_MS));
  const driver = driveArrived({ memory, qemu, connections: { qmp, guest } }, { logger });
  const timed = setClock(guest, logger);
  adopt(driver, data);
  await timed;
}
