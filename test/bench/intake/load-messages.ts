/** What the bench's thread and the load's say to each other. */
export interface LoadOptions {
  readonly port: number;
  readonly path: string;
  readonly secret: string;
  readonly webhooks: number;
  readonly connections: number;
  /** Undefined: each connection sends its next one as soon as it has an answer. */
  readonly perSecond: number | undefined;
}

export interface LoadDone {
  /** From when each was due to its answer: what had to wait for a connection has waited. */
  readonly latenciesMs: Float64Array;
  readonly seconds: number;
  readonly cpuUs: number;
}
