import type { Logger } from 'pino';

export interface Closable {
  close(): void | Promise<void>;
}

/** What has been opened, to be closed in reverse order, each one even if another fails. */
export class ShutdownStack {
  readonly #parts: { readonly name: string; readonly part: Closable }[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add<T extends Closable>(name: string, part: T): T {
    this.#parts.push({ name, part });
    return part;
  }

  /** Throws an AggregateError of all that failed, after every part was tried. Idempotent. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const { name, part } of this.#parts.splice(0).reverse()) {
      const startedAtMs = performance.now();
      try {
        await part.close();
        const tookMs = Math.round(performance.now() - startedAtMs);
        this.#logger.debug({ part: name, tookMs }, 'ended');
      } catch (error) {
        this.#logger.error({ err: error, part: name }, 'a part did not end cleanly');
        failures.push(error);
      }
    }
    if (failures.length > 0)
      throw new AggregateError(failures, 'The control plane left parts open.');
  }
}
