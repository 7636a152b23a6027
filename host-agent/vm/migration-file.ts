/**
 * Device state in a file, main memory beside it: QEMU's migration to and from `file:` with
 * `x-ignore-shared` (QEMU docs/devel/migration). The memory block must be a shared file at the
 * saving side; at the loading side the same file is mapped private, and no page of it is in the
 * stream.
 */
import { z } from 'zod';
import type { QmpClient } from './qmp/qmp-client.ts';
import type { QmpEvent } from './qmp/qmp-message.ts';
import { VmStartError } from './vm-errors.ts';

const MigrationStatus = z.object({ status: z.string() });

async function setCapabilities(qmp: QmpClient): Promise<void> {
  const capabilities = ['events', 'x-ignore-shared'].map((capability) => ({
    capability,
    state: true,
  }));
  await qmp.run('migrate-set-capabilities', { capabilities });
}

/** The guest must be stopped. On success the file holds all of its device state. */
export async function saveDeviceState(
  qmp: QmpClient,
  { path, timeoutMs }: { readonly path: string; readonly timeoutMs: number },
): Promise<void> {
  await setCapabilities(qmp);
  await finishMigration(qmp, {
    timeoutMs,
    start: () => qmp.run('migrate', { uri: `file:${path}` }),
  });
}

/** QEMU waits with `-incoming defer`. On success the guest is loaded and stopped. */
export async function loadDeviceState(
  qmp: QmpClient,
  { path, timeoutMs }: { readonly path: string; readonly timeoutMs: number },
): Promise<void> {
  await setCapabilities(qmp);
  await finishMigration(qmp, {
    timeoutMs,
    start: () => qmp.run('migrate-incoming', { uri: `file:${path}` }),
  });
}

async function finishMigration(
  qmp: QmpClient,
  { start, timeoutMs }: { readonly start: () => Promise<void>; readonly timeoutMs: number },
): Promise<void> {
  const done = Promise.withResolvers<string>();
  const timer = setTimeout(() => done.resolve(`not done in ${timeoutMs} ms`), timeoutMs);
  const unsubscribe = qmp.onEvent((event: QmpEvent) => {
    if (event.name !== 'MIGRATION') return;
    const status = MigrationStatus.safeParse(event.data).data?.status;
    if (status === 'completed' || status === 'failed') done.resolve(status);
  });
  void qmp.closed.then((why) => done.resolve(why));
  try {
    await start();
    const outcome = await done.promise;
    if (outcome === 'completed') return;
    throw new VmStartError(`QEMU could not move the device state: ${outcome}.`);
  } finally {
    clearTimeout(timer);
    unsubscribe();
  }
}
