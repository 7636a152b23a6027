/**
 * Which artifacts this host has, complete and verified, and the fetching of those it lacks. A start
 * of a VM reads its answer from memory: the artifacts were opened when the host was admitted.
 *
 *   absent ──want──→ fetching ──→ here
 *                      │  ▲
 *                      ▼  │ after a pause
 *                    failed (a `want` during the pause changes nothing)
 *
 * What came from the control plane is put into the chunk store, beside whatever the host does.
 */
import type { Logger } from 'pino';
import { openBackend } from '../chunks/open-backend.ts';
import { ArchitectError } from '../protocol/errors.ts';
import type { Digest } from '../protocol/ids.ts';
import type { StoreSpec } from '../protocol/store-spec.ts';
import { ArtifactDamagedError, ArtifactMissingError } from './artifact-errors.ts';
import { ArtifactShelf } from './artifact-shelf.ts';
import { listArtifacts, type OpenArtifact, openArtifact } from './artifact-store.ts';
import { type ArtifactSource, fetchArtifact } from './fetch.ts';

const RETRY_PAUSE_MS = 10_000;
/** Wrong bytes stay wrong until somebody publishes anew. */
const DAMAGED_PAUSE_MS = 5 * 60_000;
const MAX_ARTIFACTS = 100;
const MAX_FETCHING = 20;
const SHARE_LIMIT_MS = 60 * 60_000;

export type ArtifactState =
  | { readonly kind: 'here'; readonly opened: OpenArtifact }
  | { readonly kind: 'fetching' }
  | { readonly kind: 'failed'; readonly why: string; readonly retryAtMs: number }
  | { readonly kind: 'absent' };

export interface KeeperParts {
  readonly storeDir: string;
  readonly source: ArtifactSource;
  /** The fleet's chunk store; undefined while none is known. */
  readonly store?: () => StoreSpec | undefined;
  readonly logger: Logger;
  /** Called whenever an artifact has become whole or a fetch has failed. */
  readonly onChange: () => void;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
}

export class ArtifactKeeper {
  readonly #parts: KeeperParts;
  readonly #states = new Map<Digest, ArtifactState>();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** Opens what the store holds already; what does not open is as good as absent. */
  async open(): Promise<void> {
    const { storeDir, logger } = this.#parts;
    for (const digest of await listArtifacts(storeDir, MAX_ARTIFACTS)) {
      try {
        this.#states.set(digest, { kind: 'here', opened: await openArtifact(storeDir, digest) });
      } catch (error) {
        logger.warn({ digest, err: error }, 'artifact in the store is not usable');
      }
    }
  }

  state(digest: Digest): ArtifactState {
    return this.#states.get(digest) ?? { kind: 'absent' };
  }

  /** Digests of what is here. */
  here(): readonly Digest[] {
    const here = [...this.#states].filter(([, state]) => state.kind === 'here');
    return here.map(([digest]) => digest).slice(0, MAX_ARTIFACTS);
  }

  /** Makes sure that the artifact is here or on its way. False: too many are on their way already. */
  want(digest: Digest): boolean {
    const state = this.state(digest);
    if (state.kind === 'here' || state.kind === 'fetching') return true;
    if (state.kind === 'failed' && this.#parts.nowMs() < state.retryAtMs) return true;
    const fetching = [...this.#states.values()].filter((state) => state.kind === 'fetching');
    if (fetching.length >= MAX_FETCHING) return false;
    this.#states.set(digest, { kind: 'fetching' });
    void this.#obtain(digest);
    return true;
  }

  async #obtain(digest: Digest): Promise<void> {
    const { logger, onChange, signal } = this.#parts;
    try {
      const opened = await this.#openOrFetch(digest);
      this.#states.set(digest, { kind: 'here', opened });
      logger.info({ digest }, 'artifact is here');
    } catch (error) {
      if (signal.aborted) return;
      logger.error({ digest, err: error }, 'artifact cannot be had');
      this.#pause(digest, error);
    }
    onChange();
  }

  #pause(digest: Digest, error: unknown): void {
    const { nowMs, signal } = this.#parts;
    const isForGood = error instanceof ArchitectError && error.retry === 'never';
    const pauseMs = isForGood ? DAMAGED_PAUSE_MS : RETRY_PAUSE_MS;
    const retryAtMs = nowMs() + pauseMs;
    this.#states.set(digest, { kind: 'failed', why: describe(error), retryAtMs });
    const timer = setTimeout(() => this.want(digest), pauseMs + 1).unref();
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  async #openOrFetch(digest: Digest): Promise<OpenArtifact> {
    const { storeDir, source, logger, signal } = this.#parts;
    try {
      return await openArtifact(storeDir, digest);
    } catch (error) {
      const absent = error instanceof ArtifactMissingError || error instanceof ArtifactDamagedError;
      if (!absent) throw error;
    }
    const from = await this.#withShelf((shelf) =>
      fetchArtifact({ storeDir, digest, source, shelf, logger, signal }),
    );
    const opened = await openArtifact(storeDir, digest);
    logger.info({ digest, from }, 'artifact was fetched');
    if (from === 'control plane') void this.#share(opened);
    return opened;
  }

  /** So that the next host need not ask the control plane. Never rejects. */
  async #share(opened: OpenArtifact): Promise<void> {
    const { logger, signal } = this.#parts;
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(SHARE_LIMIT_MS)]);
    const { digest } = opened;
    try {
      await this.#withShelf(async (shelf) => await shelf?.publish(opened, bounded));
      logger.info({ digest }, 'artifact is in the chunk store');
    } catch (error) {
      if (!signal.aborted) logger.warn({ digest, err: error }, 'artifact was not shared');
    }
  }

  async #withShelf<T>(work: (shelf: ArtifactShelf | undefined) => Promise<T>): Promise<T> {
    const spec = this.#parts.store?.();
    if (spec === undefined) return await work(undefined);
    const backend = await openBackend(spec);
    try {
      return await work(new ArtifactShelf(backend));
    } finally {
      backend.close();
    }
  }
}

function describe(error: unknown): string {
  return error instanceof ArchitectError ? error.message : 'an unexpected error; see the log';
}
