/**
 * The keys of this host's VMs: one file each on a tmpfs, 0600, gone with a reboot as the VMs are. A
 * restarted agent finds them there; the control plane's master key is never on a host.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { VmId } from '../protocol/ids.ts';
import { VmKey } from '../protocol/migration-messages.ts';

/** `/run` is a tmpfs on the systems that hosts run (file-hierarchy(7)). */
const ROOT = '/run/architect-agent';

export class KeyRing {
  readonly #dir: string;

  /** `scope`: tells apart agents that share a machine. */
  constructor(scope: string) {
    this.#dir = join(ROOT, scope);
  }

  async put(vmId: VmId, key: VmKey): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    await writeFile(this.#pathOf(vmId), JSON.stringify(key), { mode: 0o600 });
  }

  /** Undefined when this host was given none. */
  async get(vmId: VmId): Promise<VmKey | undefined> {
    const text = await readFile(this.#pathOf(vmId), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : VmKey.safeParse(parseJson(text)).data;
  }

  async remove(vmId: VmId): Promise<void> {
    await rm(this.#pathOf(vmId), { force: true });
  }

  #pathOf(vmId: VmId): string {
    return join(this.#dir, `${vmId}.json`);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
