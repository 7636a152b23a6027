/** Shows operators and `architect host join` what the agent last heard of the control plane. */
import { join } from 'node:path';
import type { Logger } from 'pino';
import { writeFileDurably } from '../journal/durable-file.ts';
import { AGENT_STATUS_FILE, type AgentStatus } from '../protocol/agent-status.ts';

export class StatusFile {
  readonly #path: string;
  readonly #logger: Logger;
  #last: Promise<void> = Promise.resolve();

  constructor(agentDir: string, logger: Logger) {
    this.#path = join(agentDir, AGENT_STATUS_FILE);
    this.#logger = logger;
  }

  /** Writes one after the other; settles when this one is written. A failure is logged only. */
  show(status: AgentStatus): Promise<void> {
    this.#last = this.#last.then(async () => {
      try {
        await writeFileDurably(this.#path, `${JSON.stringify(status)}\n`);
      } catch (error) {
        this.#logger.warn({ err: error, path: this.#path }, 'status file not written');
      }
    });
    return this.#last;
  }
}
