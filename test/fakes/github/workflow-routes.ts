/** GitHub's REST API for workflows: of the default branch's files, their runs, and starting one. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { authorizeRepository } from './caller.ts';
import type { Repository } from './model.ts';
import type { Access } from './options.ts';
import { onePage } from './paging.ts';
import { runPayload, workflowId, workflowPayload } from './payload-actions.ts';
import { invalidBody, notFound, Refusal } from './refusal.ts';
import type { Simulation } from './simulation.ts';
import { parseWorkflow, WorkflowError } from './workflow.ts';

const FOLDER = '.github/workflows/';
const BRANCHES = new Set(['main', 'refs/heads/main']);
const Workflow = z.object({ workflow: z.string() });
const RunFilter = z.object({ event: z.string().optional() });
const Dispatch = z.object({
  ref: z.string().min(1),
  inputs: z.record(z.string(), z.unknown()).default({}),
  return_run_details: z.boolean().default(false),
});

export function serveWorkflows(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  const base = '/repos/:owner/:repo/actions/workflows/:workflow';
  server.get(base, async (request) => {
    const { repository, path, yaml } = find(simulation, request, 'read');
    const { name } = parseWorkflow(yaml, {});
    return workflowPayload(world, repository, { path, name });
  });
  server.get(`${base}/runs`, async (request, reply) => {
    const { repository, path } = find(simulation, request, 'read');
    const { event } = RunFilter.parse(request.query);
    const all = [...world.runs.values()]
      .filter((run) => run.repository === repository && run.path === path)
      .filter((run) => event === undefined || run.event === event)
      .reverse();
    const page = onePage(all, { request, reply, base: world.url });
    return { total_count: all.length, workflow_runs: page.map((run) => runPayload(world, run)) };
  });
  server.post(`${base}/dispatches`, async (request, reply) => {
    const { repository, path } = find(simulation, request, 'write');
    const wanted = Dispatch.safeParse(request.body);
    if (!wanted.success) throw invalidBody(wanted.error);
    const { ref, inputs, return_run_details: told } = wanted.data;
    if (!BRANCHES.has(ref)) throw refused(`No ref found for: ${ref}`);
    const [unexpected] = Object.keys(inputs);
    if (unexpected !== undefined) throw refused(`Unexpected inputs provided: ["${unexpected}"]`);
    try {
      const run = runPayload(world, simulation.dispatch(repository, path));
      if (!told) return await reply.code(204).send();
      return { workflow_run_id: run.id, run_url: run.url, html_url: run.html_url };
    } catch (error) {
      if (error instanceof WorkflowError) throw refused(error.message);
      throw error;
    }
  });
}

/** By its file's name or its id. Throws the 404 answer. */
function find(simulation: Simulation, request: FastifyRequest, access: Access) {
  const repository = authorizeRepository(simulation, request, { name: 'actions', access });
  const { workflow } = Workflow.parse(request.params);
  for (const [path, yaml] of repository.files ?? []) {
    if (path.startsWith(FOLDER) && isNamed(repository, path, workflow))
      return { repository, path, yaml };
  }
  throw notFound();
}

function isNamed(repository: Repository, path: string, name: string): boolean {
  return path === `${FOLDER}${name}` || String(workflowId(repository, path)) === name;
}

function refused(message: string): Refusal {
  return new Refusal({ status: 422, message });
}
