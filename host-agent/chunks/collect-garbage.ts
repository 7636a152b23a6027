/**
 * Deletes what no live manifest names, VM by VM, while writers run. It needs no VM's key: manifests
 * list their packs in the clear. Whatever is odd about a VM leaves that VM alone.
 *
 *   read the store's clock ─▶ list everything ─▶ per VM: read its head ─▶ live manifests' packs ─▶ delete
 */
import { ArchitectError } from '../protocol/errors.ts';
import type { VmId } from '../protocol/ids.ts';
import { ObjectMissingError, StoreUnavailableError } from './chunk-errors.ts';
import { chooseManifests, choosePacks, type Dated } from './garbage.ts';
import { DEFAULT_GRACE } from './grace.ts';
import { fetchHeader, readHeadHeader } from './head.ts';
import type { Cancellable, ObjectBackend } from './object-backend.ts';
import {
  CLOCK_KEY,
  headKey,
  manifestKey,
  packKey,
  parseKey,
  VMS_PREFIX,
  vmPrefix,
} from './store-keys.ts';

const REMOVE_BATCH = 1000;

export interface CollectOptions extends Cancellable {
  readonly backend: ObjectBackend;
  readonly graceMs?: number;
}

export interface VmGarbage {
  readonly vmId: VmId;
  readonly packs: number;
  readonly manifests: number;
  /** Why nothing was deleted. */
  readonly failure?: ArchitectError;
}

interface VmObjects {
  readonly vmId: VmId;
  readonly packs: Dated[];
  readonly manifests: Dated[];
}

/** All VMs of the store. Throws what keeps it from listing; what is wrong with one VM is reported. */
export async function collectGarbage(options: CollectOptions): Promise<readonly VmGarbage[]> {
  const nowMs = await readStoreClock(options);
  const reports: VmGarbage[] = [];
  for await (const vm of listVms(options, VMS_PREFIX)) {
    reports.push(await collectOne(options, { vm, nowMs }));
  }
  return reports;
}

/** One VM, which may have nothing at all. */
export async function collectVm(options: CollectOptions, vmId: VmId): Promise<VmGarbage> {
  const nowMs = await readStoreClock(options);
  for await (const vm of listVms(options, vmPrefix(vmId))) {
    return await collectOne(options, { vm, nowMs });
  }
  return { vmId, packs: 0, manifests: 0 };
}

/**
 * Everything of a VM that has ended. The head goes first: what is visible is whole at every moment. May
 * be called again after a failure. The caller knows that nobody writes or needs this VM any more.
 */
export async function removeVm(
  { backend, signal }: Omit<CollectOptions, 'graceMs'>,
  vmId: VmId,
): Promise<void> {
  await backend.remove([headKey(vmId)], { signal });
  for (const folder of ['manifests/', 'packs/']) {
    let batch: string[] = [];
    for await (const { key } of backend.list(`${vmPrefix(vmId)}${folder}`, { signal })) {
      batch.push(key);
      if (batch.length < REMOVE_BATCH) continue;
      await backend.remove(batch, { signal });
      batch = [];
    }
    await backend.remove(batch, { signal });
  }
}

async function collectOne(
  options: CollectOptions,
  { vm, nowMs }: { readonly vm: VmObjects; readonly nowMs: number },
): Promise<VmGarbage> {
  const { vmId } = vm;
  try {
    return await sweep(options, { vm, nowMs });
  } catch (error) {
    options.signal.throwIfAborted();
    if (!(error instanceof ArchitectError)) throw error;
    return { vmId, packs: 0, manifests: 0, failure: error };
  }
}

async function sweep(
  { backend, signal, graceMs = DEFAULT_GRACE.graceMs }: CollectOptions,
  { vm, nowMs }: { readonly vm: VmObjects; readonly nowMs: number },
): Promise<VmGarbage> {
  const { vmId } = vm;
  const newest = await readHeadHeader(backend, vmId, { signal });
  const head = newest?.head.manifest;
  const chosen = chooseManifests({ head, manifests: vm.manifests, nowMs, graceMs });
  const named = new Set(newest?.header.packs);
  for (const name of chosen.live) {
    if (name === head) continue;
    for (const pack of await packsNamed(backend, manifestKey(vmId, name), signal)) named.add(pack);
  }
  const packs = choosePacks({ packs: vm.packs, named, nowMs, graceMs });
  const keys = [
    ...chosen.deletable.map((name) => manifestKey(vmId, name)),
    ...packs.map((id) => packKey(vmId, id)),
  ];
  for (let at = 0; at < keys.length; at += REMOVE_BATCH) {
    await backend.remove(keys.slice(at, at + REMOVE_BATCH), { signal });
  }
  return { vmId, packs: packs.length, manifests: chosen.deletable.length };
}

/** None of a manifest that another collector took meanwhile. */
async function packsNamed(
  backend: ObjectBackend,
  key: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  try {
    return (await fetchHeader(backend, key, { signal })).packs;
  } catch (error) {
    if (error instanceof ObjectMissingError) return [];
    throw error;
  }
}

/** Ages are told by the store's own clock, so that this machine's may be wrong. */
async function readStoreClock({ backend, signal }: CollectOptions): Promise<number> {
  await backend.put(CLOCK_KEY, Buffer.from('What the time is here.'), { signal });
  for await (const { key, modifiedAtMs } of backend.list(CLOCK_KEY, { signal })) {
    if (key === CLOCK_KEY) return modifiedAtMs;
  }
  throw new StoreUnavailableError('The store does not list what was just put into it.');
}

/** Relies on a list giving the objects of one folder together. */
async function* listVms(
  { backend, signal }: CollectOptions,
  prefix: string,
): AsyncGenerator<VmObjects> {
  let vm: VmObjects | undefined;
  for await (const { key, modifiedAtMs } of backend.list(prefix, { signal })) {
    const parsed = parseKey(key);
    if (parsed === undefined) continue;
    if (vm !== undefined && vm.vmId !== parsed.vmId) yield vm;
    if (vm?.vmId !== parsed.vmId) vm = { vmId: parsed.vmId, packs: [], manifests: [] };
    if (parsed.kind === 'pack') vm.packs.push({ name: parsed.packId, modifiedAtMs });
    if (parsed.kind === 'manifest') vm.manifests.push({ name: parsed.name, modifiedAtMs });
  }
  if (vm !== undefined) yield vm;
}
