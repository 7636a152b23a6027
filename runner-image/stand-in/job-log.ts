/**
 * The job's log, over one long-lived chunked upload. When the connection breaks, a new one goes on
 * from the byte that the server has; so the server's log is complete and in order.
 *
 * The bytes are kept until the job ends, since an open upload confirms nothing: at most
 * MAX_LOG_BYTES, the rest is cut off and said so.
 */
import type { ClientRequest } from 'node:http';
import { reconnectDelay } from './retry.ts';
import type { RunnerServer } from './server.ts';

const MAX_LOG_BYTES = 64 * 1024 * 1024;
const MAX_RECONNECTS = 100;
const CUT_OFF = Buffer.from('\n##[error]The log is too long; the rest is cut off.\n');

export class JobLog {
  readonly #server: RunnerServer;
  readonly #jobId: number;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #upload: ClientRequest | undefined;
  #finished = false;
  #cutOff = false;
  readonly #delivery: Promise<void>;

  constructor(server: RunnerServer, jobId: number) {
    this.#server = server;
    this.#jobId = jobId;
    this.#delivery = this.#deliver();
  }

  write(data: string | Buffer): void {
    if (this.#cutOff) return;
    const chunk = typeof data === 'string' ? Buffer.from(data) : data;
    this.#cutOff = this.#length + chunk.length > MAX_LOG_BYTES;
    this.#append(this.#cutOff ? CUT_OFF : chunk);
  }

  /** Resolves when the server has it all, or when no connection can be made any more. */
  async finish(): Promise<void> {
    this.#finished = true;
    this.#upload?.end();
    await this.#delivery;
  }

  #append(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    this.#upload?.write(chunk);
  }

  async #deliver(): Promise<void> {
    try {
      for (let attempt = 0, offset = 0; attempt <= MAX_RECONNECTS; attempt += 1) {
        await this.#uploadFrom(offset);
        offset = await this.#server.logLength(this.#jobId);
        if (this.#finished && offset >= this.#length) return;
        await reconnectDelay();
      }
    } catch (error) {
      console.error(`The log is incomplete at the server: ${String(error)}`);
    }
  }

  /** Ends with the connection, whatever ended it: how far it got is the server's to say. */
  #uploadFrom(offset: number): Promise<void> {
    return new Promise((resolve) => {
      const upload = this.#server.openLog(this.#jobId, offset);
      const ended = () => {
        this.#upload = undefined;
        upload.destroy();
        resolve();
      };
      upload.once('error', ended).once('close', ended);
      upload.once('response', (response) => response.resume().once('end', ended));
      this.#upload = upload;
      for (const chunk of this.#chunksFrom(offset)) upload.write(chunk);
      if (this.#finished) upload.end();
    });
  }

  *#chunksFrom(offset: number): Generator<Buffer> {
    let position = 0;
    for (const chunk of this.#chunks) {
      const skip = Math.max(0, offset - position);
      if (skip < chunk.length) yield chunk.subarray(skip);
      position += chunk.length;
    }
  }
}
