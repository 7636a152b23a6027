/**
 * A broken world throws a subclass of `ArchitectError`; a refusal is a value, never an exception.
 * `retry` tells the caller's next tick whether trying again can help. The message says what
 * happened, to what, and what to do now.
 */
export type Retry = 'later' | 'never';

export interface ErrorDetail {
  readonly cause?: unknown;
  /** Ids and figures for the log. Never a secret. */
  readonly context?: Readonly<Record<string, string | number | boolean | undefined>>;
}

export abstract class ArchitectError extends Error {
  abstract readonly code: string;
  abstract readonly retry: Retry;
  readonly context: Readonly<Record<string, string | number | boolean | undefined>>;

  constructor(message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = new.target.name;
    this.context = detail.context ?? {};
  }
}

/** A request that was understood and turned down; `why` is a sentence for the user. */
export interface Refused {
  readonly kind: 'refused';
  readonly why: string;
}

export function refused(why: string): Refused {
  return { kind: 'refused', why };
}
