/**
 * qcow2 overlays: what one guest writes. The file names no base, so that it can be hashed and moved;
 * QEMU is told the whole chain, node by node, when it starts (qemu-arguments.ts).
 */
import { chown } from 'node:fs/promises';
import { execa } from 'execa';
import { VmStartError } from './vm-errors.ts';

const QEMU_IMG_TIMEOUT_MS = 10_000;

/** Creates an empty overlay that this user may write. Rejects with VmStartError. */
export async function createOverlay(
  path: string,
  { sizeBytes, user }: { readonly sizeBytes: number; readonly user: number },
): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', path, String(sizeBytes)];
  try {
    await execa('qemu-img', args, { timeout: QEMU_IMG_TIMEOUT_MS });
    await chown(path, user, user);
  } catch (cause) {
    const message = "The VM's disk could not be created; is the host's disk full?";
    throw new VmStartError(message, { cause });
  }
}
