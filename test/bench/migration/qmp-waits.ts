/** Waiting for a QEMU's events; to be called before what raises them. */
import type { QmpClient } from '../../../host-agent/vm/qmp/qmp-client.ts';

type Wanted = (name: string, data: Readonly<Record<string, unknown>>) => boolean;

/** Resolves with when the event was read (`performance.now()`). Rejects past the limit. */
export function whenEvent(qmp: QmpClient, name: string, limitMs: number): Promise<number> {
  return when(qmp, { what: name, limitMs, wanted: (seen) => seen === name });
}

export function whenMigration(qmp: QmpClient, status: string, limitMs: number): Promise<number> {
  const wanted: Wanted = (name, data) => name === 'MIGRATION' && data.status === status;
  return when(qmp, { what: `MIGRATION ${status}`, limitMs, wanted });
}

function when(
  qmp: QmpClient,
  { what, limitMs, wanted }: { what: string; limitMs: number; wanted: Wanted },
): Promise<number> {
  const seen = Promise.withResolvers<number>();
  const stop = qmp.onEvent(({ name, data }) => {
    if (wanted(name, data)) seen.resolve(performance.now());
    else if (name === 'MIGRATION' && data.status === 'failed') {
      seen.reject(new Error(`the migration failed before ${what}`));
    }
  });
  const late = () => seen.reject(new Error(`QEMU raised no ${what} within ${limitMs} ms`));
  const timer = setTimeout(late, limitMs);
  void qmp.closed.then((why) => seen.reject(new Error(`QEMU is gone: ${why}`)));
  const waited = seen.promise.finally(() => {
    clearTimeout(timer);
    stop();
  });
  // Whoever began several waits gives up at the first that fails.
  waited.catch(() => undefined);
  return waited;
}
