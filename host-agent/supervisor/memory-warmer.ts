/**
 * Reads the memory of the pool's template before any VM needs it: a VM that comes here, or is to be
 * tracked here, waits for it, and on a busy host reading takes longer than a move's handshake may.
 * Begun a little after the host was admitted: what is started first on a new host needs the processor
 * more. One that fails is told once; whoever needs the memory then tries again.
 */
import type { Logger } from 'pino';
import type { ArtifactKeeper } from '../artifacts/artifact-keeper.ts';
import type { TemplateMemories } from '../migration/mobility.ts';
import type { PoolSpec } from '../protocol/host-facts.ts';
import type { Digest } from '../protocol/ids.ts';
import { openPool } from './pool-artifacts.ts';

/** From the template's being here until its memory is read. */
const WARM_AFTER_MS = 3_000;

export interface WarmerParts {
  readonly artifacts: Pick<ArtifactKeeper, 'state' | 'want'>;
  readonly memories: Pick<TemplateMemories, 'of'>;
  readonly logger: Logger;
  readonly afterMs?: number;
}

export class MemoryWarmer {
  readonly #parts: WarmerParts;
  #pool: PoolSpec | undefined;
  /** Whose memory has been read, or is about to be. */
  #begun: Digest | undefined;

  constructor(parts: WarmerParts) {
    this.#parts = parts;
  }

  /** This host is in the pool from now on. */
  admit(pool: PoolSpec): void {
    this.#pool = pool;
    this.look();
  }

  /** To be called when an artifact may have come. */
  look(): void {
    const { artifacts, afterMs = WARM_AFTER_MS } = this.#parts;
    const pool = this.#pool;
    if (pool === undefined || this.#begun === pool.template) return;
    const opened = openPool(artifacts, pool);
    if (opened.kind === 'refused') return;
    this.#begun = pool.template;
    setTimeout(() => void this.#read(opened.templateDir), afterMs).unref();
  }

  async #read(templateDir: string): Promise<void> {
    const { memories, logger } = this.#parts;
    try {
      await memories.of(templateDir);
    } catch (err) {
      logger.warn({ err }, "the template's memory cannot be read ahead");
    }
  }
}
