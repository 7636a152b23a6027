/**
 * What a source tells a target of the VM's machine and of its life so far, and whether this host can
 * be that target. A machine that is not the same in every point here would not load, or worse, load
 * and be wrong (FACTS: other bases corrupt guests silently).
 */
import { z } from 'zod';
import type { Attachment } from '../net/vm-networks.ts';
import { type Refused, refused } from '../protocol/errors.ts';
import { PoolSpec } from '../protocol/host-facts.ts';
import { InstanceClass } from '../protocol/instance-class.ts';
import type { ReceiveVm } from '../protocol/migration-messages.ts';
import { VmMemory } from '../vm/state-file.ts';
import { VmMachine } from '../vm/vm-driver.ts';
import type { Json } from './worker/data-commands.ts';

export const MachineFacts = z.object({
  pool: PoolSpec,
  class: InstanceClass,
  machine: VmMachine,
  /** The guest keeps its address. */
  guestAddress: z.ipv4(),
  life: VmMemory.pick({
    state: true,
    guestKernel: true,
    times: true,
    runnerStartedAtMs: true,
  }),
});
export type MachineFacts = Readonly<z.infer<typeof MachineFacts>>;

/** As JSON, for the wire and for manifests. */
export function describeMachine(memory: VmMemory, machine: VmMachine): Json {
  const { spec, state, guestKernel, times, runnerStartedAtMs } = memory;
  const facts: MachineFacts = {
    pool: spec.pool,
    class: spec.class,
    machine,
    guestAddress: spec.network.guestAddress,
    life: { state, guestKernel, times, runnerStartedAtMs },
  };
  return z.json().parse(JSON.parse(JSON.stringify(facts)));
}

/** How the VM is joined to this host's network: with its address, and to its gateway if it has one. */
export function attachmentOf(
  { guestAddress }: Pick<MachineFacts, 'guestAddress'>,
  { epoch, network }: Pick<ReceiveVm, 'epoch' | 'network'>,
): Attachment {
  return { guestAddress, epoch, ...network };
}

/** `expected`: the pool and class that the control plane announced, which this host is open for. */
export function judgeMachine(
  facts: MachineFacts,
  expected: Pick<MachineFacts, 'pool' | 'class'>,
): Refused | undefined {
  const { accelerator, cpuModel, machineType, cpuVendor, image, template } = facts.pool;
  const { pool } = expected;
  const differences = [
    difference('accelerator', accelerator, pool.accelerator),
    difference('CPU vendor', cpuVendor, pool.cpuVendor),
    difference('CPU model', cpuModel, pool.cpuModel),
    difference('machine type', machineType, pool.machineType),
    difference('image', image, pool.image),
    difference('template', template, pool.template),
    difference('vCPUs', facts.class.vcpus, expected.class.vcpus),
    difference('memory', facts.class.memoryMib, expected.class.memoryMib),
    difference('disk', facts.class.diskGib, expected.class.diskGib),
  ].filter((text) => text !== undefined);
  if (differences.length > 0) {
    return refused(`The VM does not fit this host: ${differences.join('; ')}.`);
  }
  if (accelerator !== 'pvm') return undefined;
  return refused('Under PVM a VM does not move: QEMU does not carry its registers over.');
}

function difference(what: string, has: unknown, wants: unknown): string | undefined {
  return has === wants ? undefined : `its ${what} is ${has}, here it is ${wants}`;
}
