/** A process of its own that holds the lease of fleet `f`, and may be frozen and killed. */
import { once } from 'node:events';
import { join } from 'node:path';
import { execa } from 'execa';

const PROGRAM = join(import.meta.dirname, 'hold-lease.ts');
const LIMIT_MS = 60_000;

export class LeaseChild {
  readonly fence: number;
  readonly #child: ReturnType<typeof spawn>;

  private constructor(child: ReturnType<typeof spawn>, fence: number) {
    this.#child = child;
    this.fence = fence;
  }

  /** Resolves when it holds the lease. */
  static async start(socket: string): Promise<LeaseChild> {
    const child = spawn(socket);
    const [said] = await Promise.race([once(child.stdout, 'data'), child.then(() => [''])]);
    return new LeaseChild(child, Number(String(said)));
  }

  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  /** Idempotent; resolves when it is no more. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child;
  }
}

function spawn(socket: string) {
  return execa(process.execPath, [PROGRAM, socket], { reject: false, timeout: LIMIT_MS });
}
