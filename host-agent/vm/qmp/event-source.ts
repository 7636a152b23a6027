/** QEMU's events. Register the listener before the command that causes the event is sent. */
import type { QmpEvent } from './qmp-message.ts';

/** Past this many listeners something forgets to unsubscribe. */
const MAX_LISTENERS = 50;

export interface EventSource {
  /** Answers how to unsubscribe. */
  on(listener: (event: QmpEvent) => void): () => void;
  emit(event: QmpEvent): void;
}

export function createEventSource(): EventSource {
  const listeners = new Set<(event: QmpEvent) => void>();
  return {
    on: (listener) => {
      if (listeners.size >= MAX_LISTENERS) throw new RangeError('too many QMP event listeners');
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    emit: (event) => {
      for (const listener of [...listeners]) listener(event);
    },
  };
}
