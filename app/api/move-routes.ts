/** Routes by which operators move VMs and empty hosts. */
import { z } from 'zod';
import { HostId, MigrationId, VmId } from '../../host-agent/protocol/ids.ts';
import { isOpenMove, type MigrationRecord, type MoveWish } from '../records/migration-record.ts';
import type { ApiPorts } from './ports.ts';
import { type Route, type RouteAnswer, route } from './route.ts';
import { DrainView, MigrationStatus, viewMove } from './views.ts';

const NOTHING = z.strictObject({});
const MAX_WITHIN_SECONDS = 3_600;

export const MOVE_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/vms/{id}/migrate',
    operationId: 'migrateVm',
    summary: 'Moves a VM to another host, live. What becomes of it: /migrations/{id}.',
    params: z.strictObject({ id: VmId }),
    query: NOTHING,
    body: z.strictObject({
      to: HostId.optional(),
      /** As if a notice had given so much time. */
      withinSeconds: z.int().min(1).max(MAX_WITHIN_SECONDS).optional(),
    }),
    status: 202,
    answer: z.object({ migrationId: MigrationId }),
    handle: async ({ params: { id }, body: { to, withinSeconds } }, ports) => {
      const refusal = await refuseMove({ vmId: id, to }, ports);
      if (refusal !== undefined) return refusal;
      const withinMs = withinSeconds === undefined ? null : withinSeconds * 1000;
      const migrationId = await ports.operations.move({ vmId: id, to: to ?? null, withinMs });
      return { kind: 'ok', body: { migrationId } };
    },
  }),
  route({
    method: 'GET',
    path: '/migrations/{id}',
    operationId: 'readMigration',
    summary: 'One migration, or what keeps it from beginning.',
    params: z.strictObject({ id: MigrationId }),
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: MigrationStatus,
    handle: async ({ params: { id } }, { moves }) => {
      const { wish, migration } = await moves.readStatus(id);
      if (wish === undefined && migration === undefined)
        return { kind: 'absent', what: `There is no migration ${id}.` };
      return { kind: 'ok', body: statusOf(id, wish, migration) };
    },
  }),
  route({
    method: 'POST',
    path: '/hosts/{id}/drain',
    operationId: 'drainHost',
    summary: 'The host takes no VMs and its VMs move away, until that is undone.',
    params: z.strictObject({ id: HostId }),
    query: NOTHING,
    body: z.strictObject({ undo: z.boolean().default(false) }),
    status: 202,
    answer: DrainView,
    handle: async ({ params: { id }, body: { undo } }, ports) => {
      // One that is away now may be drained before it comes back, so a drain may be undone unseen.
      if (!undo && ports.hosts.hosts().every((host) => host.id !== id))
        return { kind: 'absent', what: `There is no host ${id}.` };
      await ports.operations.setDrained(id, !undo);
      return { kind: 'ok', body: await viewDrain(id, ports) };
    },
  }),
  route({
    method: 'GET',
    path: '/hosts/{id}/drain',
    operationId: 'readDrain',
    summary: 'How far a host is emptied.',
    params: z.strictObject({ id: HostId }),
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: DrainView,
    handle: async ({ params: { id } }, ports) => ({ kind: 'ok', body: await viewDrain(id, ports) }),
  }),
];

async function refuseMove(
  { vmId, to }: { readonly vmId: VmId; readonly to: HostId | undefined },
  { vms, hosts }: ApiPorts,
): Promise<Exclude<RouteAnswer<never>, { readonly kind: 'ok' }> | undefined> {
  const vm = await vms.readVm(vmId);
  if (vm === undefined) return { kind: 'absent', what: `There is no VM ${vmId}.` };
  if (vm.phase === 'stopped' || vm.phase === 'failed')
    return { kind: 'conflict', why: `The VM ${vmId} has ended.` };
  if (vm.held !== null)
    return {
      kind: 'conflict',
      why: `The job of the VM ${vmId} holds it on its host: only a notice moves it.`,
    };
  if (to === undefined) return undefined;
  if (to === vm.hostId) return { kind: 'conflict', why: `The VM ${vmId} is on ${to} already.` };
  const target = hosts.hosts().find((host) => host.id === to);
  if (target === undefined) return { kind: 'absent', what: `There is no host ${to}.` };
  if (target.state === 'connected') return undefined;
  return {
    kind: 'conflict',
    why: `The host ${to} is ${target.state}; VMs move to connected ones.`,
  };
}

function statusOf(
  id: MigrationId,
  wish: MoveWish | undefined,
  migration: MigrationRecord | undefined,
): MigrationStatus {
  if (migration === undefined) {
    const state = wish?.state === 'ended' ? 'failed' : 'waiting';
    return { id, state, why: wish?.why ?? null, migration: null };
  }
  const ended = migration.phase === 'done' ? 'done' : 'failed';
  return {
    id,
    state: isOpenMove(migration) ? 'moving' : ended,
    why: migration.why,
    migration: viewMove(migration),
  };
}

async function viewDrain(hostId: HostId, { vms, operations }: ApiPorts): Promise<DrainView> {
  const left = (await vms.listVms()).filter(
    (vm) => vm.hostId === hostId && vm.phase !== 'stopped' && vm.phase !== 'failed',
  );
  return { hostId, drained: operations.drainedHosts().has(hostId), vmsLeft: left.length };
}
