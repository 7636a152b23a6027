/** How fast bytes leave, from the rounds that sent some. Pure but for its memory. */
const SMOOTHING = 0.3;
/** Shorter rounds fit into buffers and say nothing of the link. */
const MIN_BYTES = 1024 * 1024;

export class SendRate {
  #bytesPerSecond = 0;

  /** 0 before the first round that counts. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  add(bytes: number, ms: number): void {
    if (bytes < MIN_BYTES || ms <= 0) return;
    const rate = (bytes / ms) * 1000;
    const before = this.#bytesPerSecond;
    this.#bytesPerSecond = before === 0 ? rate : before + SMOOTHING * (rate - before);
  }
}
