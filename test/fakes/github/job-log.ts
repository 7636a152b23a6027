/** A job's log as it grows: bytes at offsets, and readers that follow it to its end. */
import { PassThrough, type Readable } from 'node:stream';

const MAX_LOG_BYTES = 256 * 1024 * 1024;

export class JobLog {
  readonly #chunks: Buffer[] = [];
  readonly #followers = new Set<PassThrough>();
  #length = 0;
  #ended = false;

  get length(): number {
    return this.#length;
  }

  /** Bytes that are here already are skipped; a gap is refused with false. */
  writeAt(offset: number, data: Buffer): boolean {
    if (offset > this.#length || this.#ended) return false;
    const fresh = data.subarray(this.#length - offset);
    if (fresh.length === 0) return true;
    if (this.#length + fresh.length > MAX_LOG_BYTES) return false;
    this.#chunks.push(fresh);
    this.#length += fresh.length;
    for (const follower of this.#followers) follower.write(fresh);
    return true;
  }

  end(): void {
    this.#ended = true;
    for (const follower of this.#followers) follower.end();
    this.#followers.clear();
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }

  /** From the beginning to the job's end. */
  follow(): Readable {
    const follower = new PassThrough();
    for (const chunk of this.#chunks) follower.write(chunk);
    if (this.#ended) follower.end();
    else this.#followers.add(follower);
    follower.once('close', () => this.#followers.delete(follower));
    return follower;
  }
}
