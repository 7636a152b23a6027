/** The one table of routes: the server serves it and the OpenAPI document is made from it. */
import { z } from 'zod';
import { AgentRole } from '../../host-agent/protocol/enrolment.ts';
import { HostId, JobId } from '../../host-agent/protocol/ids.ts';
import { lockMarginMs } from '../records/lock-margin.ts';
import type { VmRecord } from '../records/records.ts';
import { JobRecord } from '../records/records.ts';
import { GATEWAY_ROUTES } from './gateway-routes.ts';
import { MARKET_ROUTES } from './market-routes.ts';
import { MOVE_ROUTES } from './move-routes.ts';
import type { ApiPorts } from './ports.ts';
import { type Route, route } from './route.ts';
import {
  HostList,
  IssuedToken,
  JobDetail,
  JobList,
  PoolView,
  VersionView,
  VmList,
  viewHost,
  viewJob,
  viewMove,
  viewVm,
} from './views.ts';

export const API_PREFIX = '/api/v1';
const NOTHING = z.strictObject({});
const DAY_SECONDS = 86_400;

export const ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/jobs',
    operationId: 'listJobs',
    summary: 'Jobs, newest first.',
    params: NOTHING,
    query: z.strictObject({
      state: JobRecord.shape.state.optional(),
      limit: z.coerce.number().int().min(1).max(500).default(50),
    }),
    body: NOTHING,
    status: 200,
    answer: JobList,
    handle: async ({ query: { state, limit } }, { jobs }) => {
      const found = await jobs.listJobs({ state, limit });
      return { kind: 'ok', body: { jobs: found.map(viewJob) } };
    },
  }),
  route({
    method: 'GET',
    path: '/jobs/{id}',
    operationId: 'readJob',
    summary:
      'One job: its state and why, or why it waits; its VM, its timeline, the moves it survived.',
    params: z.strictObject({ id: JobId }),
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: JobDetail,
    handle: async ({ params: { id } }, ports) => {
      const job = await ports.jobs.readJob(id);
      if (job === undefined) return { kind: 'absent', what: `There is no job ${id}.` };
      const vm = await vmOfJob(job, ports);
      const timeline = [...ports.timelines.timeline(id)];
      const moves = ports.moves.movesOf(id);
      const waiting = job.state === 'queued' ? ports.waiting.whyWaiting(id) : undefined;
      return {
        kind: 'ok',
        body: {
          job: viewJob(job),
          waiting: waiting ?? null,
          vm: vm === undefined ? null : viewVm(vm),
          timeline,
          moves: moves.map(viewMove),
          lockMarginMs: lockMarginMs(moves) ?? null,
          cost: vm === undefined ? null : (ports.costs.costOf(vm, moves) ?? null),
        },
      };
    },
  }),
  route({
    method: 'GET',
    path: '/hosts',
    operationId: 'listHosts',
    summary: 'Hosts, as their agents report; empty on a process that does not hold the lease.',
    params: NOTHING,
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: HostList,
    handle: (_, { hosts, operations }) => {
      const drained = operations.drainedHosts();
      const views = hosts.hosts().map((host) => viewHost(host, drained.has(host.id)));
      return { kind: 'ok', body: { hosts: views } };
    },
  }),
  route({
    method: 'POST',
    path: '/hosts/tokens',
    operationId: 'issueHostToken',
    summary: 'A one-time token that turns a machine into a host, or into a gateway.',
    params: NOTHING,
    query: NOTHING,
    body: z.strictObject({
      ttlSeconds: z
        .int()
        .min(60)
        .max(7 * DAY_SECONDS)
        .default(3600),
      role: AgentRole.default('host'),
    }),
    status: 201,
    answer: IssuedToken,
    handle: ({ body: { ttlSeconds, role } }, { door }) => {
      const issued = door.issueToken(ttlSeconds * 1000, role);
      if (issued.kind === 'refused') return { kind: 'conflict', why: issued.why };
      const { token, expiresAtMs } = issued;
      return { kind: 'ok', body: { token, expiresAtMs } };
    },
  }),
  route({
    method: 'DELETE',
    path: '/hosts/{id}',
    operationId: 'revokeHost',
    summary: "Revokes a host's certificate for good and ends its connection.",
    params: z.strictObject({ id: HostId }),
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: z.object({ revoked: HostId }),
    handle: ({ params: { id } }, { door }) =>
      door.revoke(id)
        ? { kind: 'ok', body: { revoked: id } }
        : { kind: 'absent', what: `No host ${id} was ever enrolled.` },
  }),
  route({
    method: 'GET',
    path: '/vms',
    operationId: 'listVms',
    summary: 'VMs that live or whose end is not yet settled.',
    params: NOTHING,
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: VmList,
    handle: async (_, { vms }) => ({
      kind: 'ok',
      body: { vms: (await vms.listVms()).map(viewVm) },
    }),
  }),
  ...MOVE_ROUTES,
  ...MARKET_ROUTES,
  ...GATEWAY_ROUTES,
  route({
    method: 'GET',
    path: '/pool',
    operationId: 'readPool',
    summary: 'The pool that hosts must fit.',
    params: NOTHING,
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: PoolView,
    handle: (_, { pool }) => ({ kind: 'ok', body: { pool: pool() } }),
  }),
  route({
    method: 'GET',
    path: '/version',
    operationId: 'readVersion',
    summary: "This control plane's version.",
    params: NOTHING,
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: VersionView,
    handle: (_, { version }) => ({ kind: 'ok', body: { version, api: 'v1' as const } }),
  }),
];

/** The VM that runs or ran the job; before GitHub gave it one, the newest that was started for it. */
async function vmOfJob(job: JobRecord, { vms }: ApiPorts): Promise<VmRecord | undefined> {
  if (job.vmId !== null) return await vms.readVm(job.vmId);
  const started = (await vms.listVms()).filter((vm) => vm.forJob === job.id);
  return started.toSorted((one, other) => other.createdAtMs - one.createdAtMs)[0];
}
