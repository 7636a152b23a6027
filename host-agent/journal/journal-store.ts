/**
 * The journals on disk: `<agentDir>/journal/<vmId>.json`, 0600. The first of this agent's writes of a
 * journal makes its file anew, with file and folder synced; the others go into the older of its two
 * slots (journal-slots.ts), since two of them are in a move's blackout. A journal is written before
 * its VM first runs and removed last of all, so that whatever else is found on the host without one
 * belongs to nobody.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ArchitectError } from '../protocol/errors.ts';
import { VmId } from '../protocol/ids.ts';
import { syncFolder, writeFileDurably } from './durable-file.ts';
import { encodeSlot, encodeSlots, readSlots, slotOffset } from './journal-slots.ts';
import { VmJournal } from './token.ts';

export class JournalError extends ArchitectError {
  readonly code = 'JOURNAL';
  readonly retry = 'later';
}

/** A file that this agent made: a write to it is on disk when it is done. */
interface Slots {
  readonly file: FileHandle;
  readonly sequence: number;
}

export class JournalStore {
  readonly #dir: string;
  readonly #slots = new Map<VmId, Slots>();
  /** By VM: one write after the other. */
  readonly #writes = new Map<VmId, Promise<void>>();

  constructor(agentDir: string) {
    this.#dir = join(agentDir, 'journal');
  }

  /** On disk when it resolves. Throws JournalError, and then what was journalled before stands. */
  async write(journal: VmJournal): Promise<void> {
    const { vmId } = journal;
    const text = JSON.stringify(journal);
    try {
      await this.#inTurn(vmId, () => this.#write(vmId, text));
    } catch (cause) {
      const path = this.#pathOf(vmId);
      throw new JournalError(
        `Cannot write ${path}. Check the disk's space and state; no VM runs without its journal.`,
        { cause, context: { vmId } },
      );
    }
  }

  async remove(vmId: VmId): Promise<void> {
    await this.#inTurn(vmId, async () => {
      await this.#forget(vmId);
      await rm(this.#pathOf(vmId), { force: true });
      await syncFolder(this.#dir);
    });
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
      const journal = parseJournal(await readFile(path), vmId);
      if (journal !== undefined) journals.push(journal);
      else {
        logger.error({ vmId, path }, 'journal cannot be read; put aside');
        await rename(path, `${path}.unreadable`);
      }
    }
    return journals;
  }

  async #inTurn(vmId: VmId, work: () => Promise<void>): Promise<void> {
    const turn = (this.#writes.get(vmId) ?? Promise.resolve()).then(work);
    const settled = turn.catch(() => undefined);
    this.#writes.set(vmId, settled);
    await turn.finally(() => {
      if (this.#writes.get(vmId) === settled) this.#writes.delete(vmId);
    });
  }

  /** A write that failed, for whatever cause, is followed by one that makes the file anew. */
  async #write(vmId: VmId, text: string): Promise<void> {
    const slots = this.#slots.get(vmId);
    const sequence = (slots?.sequence ?? 0) + 1;
    const bytes = encodeSlot({ sequence, text });
    if (slots === undefined || bytes === undefined) return await this.#replace(vmId, text);
    try {
      await writeAll(slots.file, bytes, slotOffset(sequence));
      this.#slots.set(vmId, { ...slots, sequence });
    } catch (error) {
      await this.#forget(vmId);
      throw error;
    }
  }

  /** What is too long for a slot is written as it is. */
  async #replace(vmId: VmId, text: string): Promise<void> {
    await this.#forget(vmId);
    const path = this.#pathOf(vmId);
    const sequence = 1;
    const slots = encodeSlots({ sequence, text });
    await writeFileDurably(path, slots ?? text);
    if (slots === undefined) return;
    const file = await open(path, constants.O_WRONLY | constants.O_DSYNC);
    this.#slots.set(vmId, { file, sequence });
  }

  async #forget(vmId: VmId): Promise<void> {
    const slots = this.#slots.get(vmId);
    this.#slots.delete(vmId);
    await slots?.file.close();
  }

  #pathOf(vmId: VmId): string {
    return join(this.#dir, `${vmId}.json`);
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  const { bytesWritten } = await file.write(bytes, 0, bytes.length, position);
  if (bytesWritten < bytes.length) throw new Error(`only ${bytesWritten} bytes were written`);
}

function parseJournal(file: Buffer, vmId: VmId): VmJournal | undefined {
  try {
    const text = readSlots(file)?.text ?? file.toString('utf8');
    const journal = VmJournal.parse(JSON.parse(text));
    return journal.vmId === vmId ? journal : undefined;
  } catch {
    return undefined;
  }
}
