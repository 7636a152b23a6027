/**
 * Waiting for events of a QEMU that may be lost meanwhile. One reaction per connection, not one per
 * wait: its `closed` lives as long as the VM, and would keep each of them.
 */
import type { QmpClient } from '../../vm/qmp/qmp-client.ts';

interface Waiting {
  readonly listeners: Set<(why: string) => void>;
  why: string | undefined;
}

const connections = new WeakMap<QmpClient, Waiting>();

/** Calls back with the reason when the connection ends, or at once; answers how to unsubscribe. */
export function onConnectionEnd(qmp: QmpClient, listener: (why: string) => void): () => void {
  const waiting = connections.get(qmp) ?? watch(qmp);
  if (waiting.why !== undefined) listener(waiting.why);
  else waiting.listeners.add(listener);
  return () => waiting.listeners.delete(listener);
}

function watch(qmp: QmpClient): Waiting {
  const waiting: Waiting = { listeners: new Set(), why: undefined };
  connections.set(qmp, waiting);
  void qmp.closed.then((why) => {
    waiting.why = why;
    for (const listener of [...waiting.listeners]) listener(why);
    waiting.listeners.clear();
  });
  return waiting;
}
