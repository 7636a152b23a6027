/** A chunk store in memory, with the faults that a real one has. */
import { createHash } from 'node:crypto';
import type { ChunkRef } from '../../../host-agent/chunks/chunk-codec.ts';
import type { ChunkSink } from '../../../host-agent/migration/seal/sealer.ts';
import type {
  ChunkOutcome,
  ChunkSource,
} from '../../../host-agent/migration/transfer/chunk-filler.ts';

export type ChunkFault = 'damaged' | 'missing' | 'unavailable' | 'short' | 'never';

export class MemoryChunkStore implements ChunkSink, ChunkSource {
  readonly #chunks = new Map<string, Buffer>();
  #added = new Map<string, Buffer>();
  /** What befalls a read. */
  fault: (ref: ChunkRef) => ChunkFault | undefined = () => undefined;
  /** Writing rejects. */
  isDown = false;
  /** Runs before a write is answered: the guest goes on meanwhile. */
  beforeAdd: () => void = () => {};
  reads = 0;

  async add(content: Buffer): Promise<ChunkRef> {
    await Promise.resolve();
    this.beforeAdd();
    if (this.isDown) throw new Error('the store is down');
    const name = createHash('sha256').update(content).digest('base64url').slice(0, 27);
    this.#added.set(name, Buffer.from(content));
    const size = content.length;
    return { name, pack: 'a'.repeat(32), offset: this.#chunks.size, length: size, size };
  }

  async flush(): Promise<void> {
    await Promise.resolve();
    if (this.isDown) throw new Error('the store is down');
    for (const [name, content] of this.#added) this.#chunks.set(name, content);
    this.#added = new Map();
  }

  async read(
    refs: Iterable<ChunkRef>,
    { signal, onChunk }: Parameters<ChunkSource['read']>[1],
  ): Promise<void> {
    for (const ref of refs) {
      await new Promise(setImmediate);
      signal.throwIfAborted();
      this.reads += 1;
      const fault = this.fault(ref);
      if (fault === 'never') await new Promise(() => {});
      await onChunk(ref, this.#outcome(ref, fault));
    }
  }

  #outcome(ref: ChunkRef, fault: ChunkFault | undefined): ChunkOutcome {
    const content = this.#chunks.get(ref.name);
    if (content === undefined) return { kind: 'missing' };
    if (fault === undefined) return { kind: 'read', content };
    if (fault === 'short') return { kind: 'read', content: content.subarray(1) };
    return { kind: fault === 'never' ? 'missing' : fault };
  }
}
