/** What a host brings along for moving VMs: who it is to its peers, and where their bytes go. */
import { join } from 'node:path';
import type { HostId } from '../protocol/ids.ts';
import type { StoreSpec } from '../protocol/store-spec.ts';
import { TEMPLATE_MEMORY } from '../vm/vm-files.ts';
import { MemoryBase } from './image/memory-base.ts';
import type { KeyRing } from './key-ring.ts';
import type { PeerIdentity } from './peer/peer-tls.ts';

export interface Mobility {
  readonly hostId: HostId;
  readonly identity: PeerIdentity;
  /** Of this host on the hosts' network: where peers dial. */
  readonly address: string;
  readonly ports: { readonly first: number; readonly last: number };
  readonly memories: TemplateMemories;
  readonly keys: KeyRing;
  /** From one checkpoint of a VM to its next at least; undefined: DEFAULT_INTERVAL_MS. */
  readonly checkpointIntervalMs?: number;
  /** Undefined: the control plane named none. */
  readonly store: () => StoreSpec | undefined;
}

/** Templates' memories, each read once for all VMs of this host: pages are compared with them. */
export class TemplateMemories {
  readonly #memories = new Map<string, Promise<MemoryBase>>();

  /** Rejects with MemoryBaseError; the next call tries again. */
  async of(templateDir: string): Promise<MemoryBase> {
    const known = this.#memories.get(templateDir);
    if (known !== undefined) return await known;
    const opening = MemoryBase.open(join(templateDir, TEMPLATE_MEMORY));
    this.#memories.set(templateDir, opening);
    opening.catch(() => this.#memories.delete(templateDir));
    return await opening;
  }
}
