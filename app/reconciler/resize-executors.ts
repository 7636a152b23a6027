/** How running VMs get another size: the host says in its reports what became of it. */
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { changeVm, type ExecutorPorts, type SlowPart, type StepOf } from './executor.ts';

/** Not now: its host makes a checkpoint of it, or has given its room away meanwhile. */
export class ResizeRefusedError extends ArchitectError {
  readonly code = 'RESIZE_REFUSED';
  readonly retry = 'later';
}

export async function resizeVm(ports: ExecutorPorts, step: StepOf<'resize-vm'>): Promise<SlowPart> {
  const { vmId, hostId, size } = step;
  return async () => {
    const request = { kind: 'resize-vm', vmId, size } as const;
    const outcome = await ports.fleet.request(hostId, request, ports.signal);
    if (outcome.kind === 'taken') return;
    throw new ResizeRefusedError(`${hostId} does not resize ${vmId} now: ${outcome.why}`);
  };
}

export async function endResize(
  ports: ExecutorPorts,
  { vmId, why }: StepOf<'end-resize'>,
): Promise<SlowPart> {
  await changeVm(ports, vmId, (vm) =>
    vm.resize?.state === 'wanted' ? { ...vm, resize: { ...vm.resize, state: 'refused', why } } : vm,
  );
  return undefined;
}
