/**
 * A VM that comes out of the store alone, in the data worker: what ReceivingRole is for one that has a
 * source.
 *
 *   readPoint: blocks and disk as the manifest says ─▶ (main thread judges it, `place`, launches QEMU,
 *   `feed`) ─▶ restore: images, overlay and QEMU fill ─▶ overlay closed, QEMU has it all
 *
 * On failure images, overlay and QEMU are of no use.
 */
import type { ChunkRef } from '../../chunks/chunk-codec.ts';
import type { Manifest } from '../../chunks/manifest.ts';
import { PointFacts } from '../point-facts.ts';
import { RestoreError, restoreImages } from '../transfer/restore-images.ts';
import type { PlaceData, PointFound } from './data-commands.ts';
import type { ImageSet } from './image-set.ts';
import { LandingSite } from './landing-site.ts';
import type { Storage } from './storage.ts';

export interface RestoringParts {
  readonly images: ImageSet;
  readonly storage: Storage;
}

export class RestoringRole {
  readonly #parts: RestoringParts;
  readonly #site: LandingSite;
  readonly #end = new AbortController();
  #manifest: Manifest | undefined;

  constructor(parts: RestoringParts) {
    this.#parts = parts;
    this.#site = new LandingSite(parts.images, (why) => this.hangUp(why));
  }

  /** Undefined when the store has none. */
  async readPoint({ limitMs }: { readonly limitMs: number }): Promise<PointFound | undefined> {
    const { images, storage } = this.#parts;
    const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(limitMs)]);
    const manifest = await storage.opened.chunks.readHead({ signal });
    if (manifest === undefined) return undefined;
    this.#manifest = manifest;
    images.memory.setBlocks(manifest.memory.map(({ name, sizeBytes }) => ({ name, sizeBytes })));
    await images.disk(manifest.disk.sizeBytes);
    const { epoch, generation, createdAtMs, facts, disk } = manifest;
    const plain = JSON.parse(JSON.stringify(facts));
    return { epoch, generation, createdAtMs, facts: plain, diskBytes: disk.sizeBytes };
  }

  async place(request: PlaceData): Promise<void> {
    await this.#site.place(request);
  }

  async feed(socketPath: string): Promise<void> {
    const { prologue: refs, facts } = this.#read();
    const { ramSectionId } = PointFacts.parse(facts);
    const prologue = await this.#fetch(refs);
    await this.#site.feed(socketPath, { prologue, ramSectionId });
  }

  async restore(): Promise<{ readonly bytes: number }> {
    const manifest = this.#read();
    const { images, storage } = this.#parts;
    const bytes = await restoreImages({
      images: images.both,
      stored: manifest,
      source: storage.opened.chunks,
      signal: this.#end.signal,
      onFilled: () => this.#site.poke(),
    });
    this.#site.devices(await this.#fetch(manifest.deviceState));
    await this.#site.conclude();
    return { bytes };
  }

  hangUp(why: string): void {
    this.#end.abort(new Error(why));
    this.#site.giveUp(why);
  }

  #read(): Manifest {
    if (this.#manifest === undefined) throw new RangeError('no manifest was read');
    return this.#manifest;
  }

  /** One text out of its chunks, in order. Throws RestoreError. */
  async #fetch(refs: readonly ChunkRef[]): Promise<Buffer> {
    const contents = new Map<string, Buffer>();
    const { signal } = this.#end;
    await this.#parts.storage.opened.chunks.read(refs, {
      signal,
      onChunk: ({ name }, outcome) => {
        if (outcome.kind === 'read') contents.set(name, outcome.content);
      },
    });
    return Buffer.concat(
      refs.map(({ name }) => {
        const content = contents.get(name);
        if (content !== undefined) return content;
        throw new RestoreError("A part of the devices' state cannot be had from the store.");
      }),
    );
  }
}
