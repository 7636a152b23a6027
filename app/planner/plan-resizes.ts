/**
 * Running VMs whose jobs want another size of them. Pure.
 *
 *   smaller, or its host has room for the rest   resized there
 *   its host is too small                        moved to one that fits, then resized; not one that is held
 *   no host has room                             waits for a while, then refused
 */
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import { planEvacuation } from './evacuate.ts';
import type { Judged } from './judge-vm.ts';
import type { ObservedVm } from './observed.ts';
import { isMovable, leavingVm, moveStep } from './plan-departures.ts';
import { nextId, type Planning } from './planning.ts';
import type { Step } from './step.ts';
import { isReachable } from './tend-moves.ts';

type ResizeStep = Extract<Step, { readonly kind: 'resize-vm' | 'end-resize' | 'move-vm' }>;

export function wantsResize({ vm, verdict }: Judged): boolean {
  const isUp = verdict.kind === 'running' || verdict.kind === 'waiting';
  return isUp && vm.resize !== undefined && !vm.resizing;
}

/** Undefined: nothing can be done for it now. */
export function planResize(judged: Judged, planning: Planning): ResizeStep | undefined {
  const { vm } = judged;
  const { room, world } = planning;
  if (vm.resize === undefined || !isReachable(world.hosts.get(vm.hostId))) return undefined;
  const { size, askedAtMs } = vm.resize;
  const more: InstanceClass = {
    ...vm.class,
    vcpus: Math.max(0, size.vcpus - vm.class.vcpus),
    memoryMib: Math.max(0, size.memoryMib - vm.class.memoryMib),
    diskGib: 0,
  };
  if (room.grow(vm.hostId, more))
    return { kind: 'resize-vm', vmId: vm.id, hostId: vm.hostId, size };
  const end = (why: string) => ({ kind: 'end-resize', vmId: vm.id, why }) as const;
  if (vm.held) return end('Its host has no room for that, and its job holds it there.');
  const step = isMovable(judged) ? moveToRoom(vm, more, planning) : undefined;
  if (step !== undefined || world.nowMs - askedAtMs < world.config.wishLimitMs) return step;
  return end('No host has room for a VM of that size, or it cannot be moved there.');
}

function moveToRoom(
  vm: ObservedVm,
  more: InstanceClass,
  planning: Planning,
): ResizeStep | undefined {
  const { room, world, failed } = planning;
  const { linkBytesPerSecond: rate, moveLimitMs, moveRetryMs } = world.config;
  const isResting = failed
    .get(vm.id)
    ?.some(({ phaseSinceMs }) => world.nowMs - phaseSinceMs < moveRetryMs);
  if (isResting === true) return undefined;
  const vcpus = vm.class.vcpus + more.vcpus;
  const size = { ...vm.class, vcpus, memoryMib: vm.class.memoryMib + more.memoryMib };
  const [decision] = planEvacuation({
    vms: leavingVm({ ...vm, class: size }),
    targets: room.targets([size], (id) => id !== vm.hostId),
    sourceBytesPerSecond: rate,
    deadlineMs: Number.POSITIVE_INFINITY,
    nowMs: world.nowMs,
  });
  if (decision?.kind !== 'move') return undefined;
  const migrationId = nextId(planning);
  if (migrationId === undefined) return undefined;
  room.take(decision.to, size);
  const deadlineMs = Math.max(decision.endsAtMs, world.nowMs + moveLimitMs);
  const because = 'Its job wants a size that its host has no room for.';
  return moveStep({ migrationId, vm, decision, deadlineMs, because });
}
