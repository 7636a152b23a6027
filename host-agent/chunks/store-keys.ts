/**
 * Where a VM's objects are. Each VM has a prefix of its own, so VMs share nothing and never interfere.
 *
 *   vms/<vmId>/head                                   which manifest is the newest
 *   vms/<vmId>/manifests/<epoch>-<generation>-<random>
 *   vms/<vmId>/packs/<pack id>
 *   collector/clock                                   what the time is, by the store's clock
 *   artifacts/…                                       images and templates (artifacts/artifact-shelf.ts)
 */
import { VmId } from '../protocol/ids.ts';
import type { Point } from './manifest.ts';
import { isPackId } from './pack.ts';

export const VMS_PREFIX = 'vms/';
export const CLOCK_KEY = 'collector/clock';
/** The digits of the largest safe integer: names sort by epoch, then generation. */
const DIGITS = 16;
const MANIFEST_NAME = /^(\d{16})-(\d{16})-[0-9a-f]{16}$/;

export function vmPrefix(vmId: VmId): string {
  return `${VMS_PREFIX}${vmId}/`;
}

export function headKey(vmId: VmId): string {
  return `${vmPrefix(vmId)}head`;
}

export function packKey(vmId: VmId, packId: string): string {
  return `${vmPrefix(vmId)}packs/${packId}`;
}

export function manifestKey(vmId: VmId, name: string): string {
  return `${vmPrefix(vmId)}manifests/${name}`;
}

/** `random` has 8 bytes: a generation that is published again never takes the place of its first attempt. */
export function manifestName({ epoch, generation }: Point, random: Buffer): string {
  const digits = (value: number) => String(value).padStart(DIGITS, '0');
  return `${digits(epoch)}-${digits(generation)}-${random.toString('hex', 0, 8)}`;
}

export function parseManifestName(name: string): Point | undefined {
  const match = MANIFEST_NAME.exec(name);
  return match ? { epoch: Number(match[1]), generation: Number(match[2]) } : undefined;
}

export type ParsedKey =
  | { readonly kind: 'head'; readonly vmId: VmId }
  | { readonly kind: 'pack'; readonly vmId: VmId; readonly packId: string }
  | { readonly kind: 'manifest'; readonly vmId: VmId; readonly name: string };

/** Undefined for an object that is none of a VM's: nobody here touches it. */
export function parseKey(key: string): ParsedKey | undefined {
  const [vms, vm, folder, name, ...more] = key.split('/');
  const { data: vmId } = VmId.safeParse(vm);
  if (vms !== 'vms' || vmId === undefined || more.length > 0) return undefined;
  if (folder === 'head' && name === undefined) return { kind: 'head', vmId };
  if (name === undefined) return undefined;
  if (folder === 'packs' && isPackId(name)) return { kind: 'pack', vmId, packId: name };
  if (folder === 'manifests' && MANIFEST_NAME.test(name)) return { kind: 'manifest', vmId, name };
  return undefined;
}
