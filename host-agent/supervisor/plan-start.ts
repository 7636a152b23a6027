/** Whether a VM may start here. Pure: every figure that it judges by is an argument. */
import type { MachineShape } from '../protocol/artifact.ts';
import { type Refused, refused } from '../protocol/errors.ts';
import type { Capacity, PoolSpec } from '../protocol/host-facts.ts';
import type { InstanceClass } from '../protocol/instance-class.ts';
import { MAX_VMS_PER_HOST, type StartVm } from '../protocol/messages.ts';

/** What this host knows of the asked-for VM already, by its id. */
export type Acquaintance =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'known'; readonly class: InstanceClass }
  /** It ran here, ended, and the control plane has read its end. */
  | { readonly kind: 'forgotten' };

export interface StartSituation {
  readonly acquaintance: Acquaintance;
  /** The pool that this host was admitted to. */
  readonly pool: PoolSpec | undefined;
  readonly capacity: Capacity;
  /** Classes of the VMs that hold resources here, those on their way out included. */
  readonly held: readonly InstanceClass[];
  /** VMs in this host's reports, ended ones included. */
  readonly reported: number;
}

export type StartDecision =
  | { readonly kind: 'start' }
  /** The same request came before: nothing more to do. */
  | { readonly kind: 'already' }
  | Refused;

export function planStart(
  request: Pick<StartVm, 'vmId' | 'class' | 'pool'>,
  situation: StartSituation,
): StartDecision {
  const { acquaintance, pool } = situation;
  if (acquaintance.kind === 'forgotten') {
    return refused(`VM ${request.vmId} has ended on this host; a VM does not start twice.`);
  }
  if (acquaintance.kind === 'known') {
    if (isSameClass(acquaintance.class, request.class)) return { kind: 'already' };
    return refused(`VM ${request.vmId} exists on this host with another class.`);
  }
  if (pool === undefined) return refused('This host is not admitted to a pool.');
  if (!isSamePool(pool, request.pool)) {
    return refused(
      `This host is in pool ${pool.id} (template ${pool.template}), not in ${request.pool.id} (template ${request.pool.template}).`,
    );
  }
  if (situation.reported >= MAX_VMS_PER_HOST) {
    return refused(`This host reports ${MAX_VMS_PER_HOST} VMs already, the most it can.`);
  }
  return judgeCapacity(request.class, situation) ?? { kind: 'start' };
}

/** Undefined: there is room for it beside what is held. */
export function judgeCapacity(
  wanted: InstanceClass,
  { capacity, held }: Pick<StartSituation, 'capacity' | 'held'>,
): Refused | undefined {
  const used = sumOf(held);
  const lacks = [];
  if (used.vcpus + wanted.vcpus > capacity.vcpus) {
    lacks.push(`${wanted.vcpus} vCPUs (${used.vcpus} of ${capacity.vcpus} are taken)`);
  }
  if (used.memoryMib + wanted.memoryMib > capacity.memoryMib) {
    lacks.push(
      `${wanted.memoryMib} MiB of memory (${used.memoryMib} of ${capacity.memoryMib} are taken)`,
    );
  }
  if (used.diskGib + wanted.diskGib > capacity.diskGib) {
    lacks.push(`${wanted.diskGib} GiB of disk (${used.diskGib} of ${capacity.diskGib} are taken)`);
  }
  return lacks.length === 0 ? undefined : refused(`This host has no room for ${lacks.join(', ')}.`);
}

/** Whether a VM grown from a template of this shape can become the class, or has more memory. */
export function judgeShape(wanted: InstanceClass, shape: MachineShape): Refused | undefined {
  if (wanted.vcpus > shape.maxVcpus || wanted.vcpus < shape.vcpus) {
    return refused(
      `The template grows from ${shape.vcpus} to ${shape.maxVcpus} vCPUs; ${wanted.vcpus} are asked for.`,
    );
  }
  if (wanted.memoryMib > shape.maxMemoryMib) {
    return refused(
      `The template grows to ${shape.maxMemoryMib} MiB; ${wanted.memoryMib} are asked for.`,
    );
  }
  return undefined;
}

function sumOf(classes: readonly InstanceClass[]): Capacity {
  return {
    vcpus: classes.reduce((sum, { vcpus }) => sum + vcpus, 0),
    memoryMib: classes.reduce((sum, { memoryMib }) => sum + memoryMib, 0),
    diskGib: classes.reduce((sum, { diskGib }) => sum + diskGib, 0),
  };
}

function isSameClass(one: InstanceClass, other: InstanceClass): boolean {
  return (
    one.vcpus === other.vcpus &&
    one.memoryMib === other.memoryMib &&
    one.diskGib === other.diskGib &&
    one.arch === other.arch
  );
}

function isSamePool(one: PoolSpec, other: PoolSpec): boolean {
  return one.id === other.id && one.image === other.image && one.template === other.template;
}
