/**
 * The journals on disk: `<agentDir>/journal/<vmId>.json`, 0600, each replaced atomically with file
 * and folder synced. A journal is written before its VM first runs and removed last of all, so that
 * whatever else is found on the host without one belongs to nobody.
 */
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ArchitectError } from '../protocol/errors.ts';
import { VmId } from '../protocol/ids.ts';
import { syncFolder, writeFileDurably } from './durable-file.ts';
import { VmJournal } from './token.ts';

export class JournalError extends ArchitectError {
  readonly code = 'JOURNAL';
  readonly retry = 'later';
}

export class JournalStore {
  readonly #dir: string;

  constructor(agentDir: string) {
    this.#dir = join(agentDir, 'journal');
  }

  /** On disk when it resolves. Throws JournalError, and then what was journalled before stands. */
  async write(journal: VmJournal): Promise<void> {
    const path = this.#pathOf(journal.vmId);
    try {
      await writeFileDurably(path, JSON.stringify(journal));
    } catch (cause) {
      throw new JournalError(
        `Cannot write ${path}. Check the disk's space and state; no VM runs without its journal.`,
        { cause, context: { vmId: journal.vmId } },
      );
    }
  }

  async remove(vmId: VmId): Promise<void> {
    await rm(this.#pathOf(vmId), { force: true });
    await syncFolder(this.#dir);
  }

  /**
   * All journals, making the folder when there is none. One that cannot be read is put aside as
   * `<name>.unreadable`: its VM cannot be proven to be ours, so it does not run here.
   */
  async open(logger: Logger): Promise<readonly VmJournal[]> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const journals = [];
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name);
      if (name.endsWith('.tmp')) await rm(path, { force: true });
      const vmId = name.endsWith('.json') ? VmId.safeParse(name.slice(0, -5)).data : undefined;
      if (vmId === undefined) continue;
      const journal = parseJournal(await readFile(path, 'utf8'), vmId);
      if (journal !== undefined) journals.push(journal);
      else {
        logger.error({ vmId, path }, 'journal cannot be read; put aside');
        await rename(path, `${path}.unreadable`);
      }
    }
    return journals;
  }

  #pathOf(vmId: VmId): string {
    return join(this.#dir, `${vmId}.json`);
  }
}

function parseJournal(text: string, vmId: VmId): VmJournal | undefined {
  try {
    const journal = VmJournal.parse(JSON.parse(text));
    return journal.vmId === vmId ? journal : undefined;
  } catch {
    return undefined;
  }
}
