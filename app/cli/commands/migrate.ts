import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { MigrationId } from '../../../host-agent/protocol/ids.ts';
import { DrainView, JobDetail, MigrationStatus } from '../../api/views.ts';
import { type ApiAddress, callApi, findApi } from '../api-client.ts';
import { parseJobId } from '../arguments.ts';
import { CliError } from '../cli-error.ts';
import { follow } from '../follow.ts';
import { type Output, show } from '../output.ts';
import { presentJob } from '../present.ts';
import { presentMove, presentProgress } from '../present-moves.ts';

const MIGRATE_EXAMPLES = `
Examples:
  architect migrate vm-1a2b3c4d
  architect migrate vm-1a2b3c4d --to h-925bda28-2c7b7a --json`;
const DRAIN_EXAMPLES = `
Examples:
  architect drain h-925bda28-2c7b7a           its VMs move away, and it gets no others
  architect drain h-925bda28-2c7b7a --undo    it takes VMs again`;
const DRILL_EXAMPLES = `
Example:
  architect drill 4815162342        moves the running job as if its host were taken back in 2 minutes`;
const DRILL_SECONDS = 120;

interface Json {
  readonly json: boolean;
}

export function addMigrateCommand(program: Command, output: Output): void {
  program
    .command('migrate')
    .description('move a VM to another host while it runs')
    .argument('<vm>', 'as listed by: architect vms')
    .option('--to <host>', 'a certain host, as listed by: architect hosts')
    .option('--json', 'print JSON', false)
    .addHelpText('after', MIGRATE_EXAMPLES)
    .action(async (vm: string, { to, json }: Json & { readonly to?: string }) => {
      const status = await migrate(output, { vm, ...(to === undefined ? {} : { to }) });
      show(output, { json, value: status, present: presentStatus });
      failUnlessDone(status);
    });
}

export function addDrainCommand(program: Command, output: Output): void {
  program
    .command('drain')
    .description('move all VMs off a host and give it no others')
    .argument('<host>', 'as listed by: architect hosts')
    .option('--undo', 'let it take VMs again', false)
    .option('--json', 'print JSON', false)
    .addHelpText('after', DRAIN_EXAMPLES)
    .action(async (host: string, { undo, json }: Json & { readonly undo: boolean }) => {
      const value = await drain(output, host, undo);
      show(output, { json, value, present: presentDrain });
    });
}

export function addDrillCommand(program: Command, output: Output): void {
  program
    .command('drill')
    .description('evacuate a running job to another host, for real, and show its evidence')
    .argument('<job>', "GitHub's id of the job", parseJobId)
    .option(
      '--within <seconds>',
      'the time that the notice would give',
      parseSeconds,
      DRILL_SECONDS,
    )
    .option('--json', 'print JSON', false)
    .addHelpText('after', DRILL_EXAMPLES)
    .action(async (id: string, { within, json }: Json & { readonly within: number }) => {
      const api = findApi(output.environment);
      const { job, vm } = await readJob(api, id);
      if (vm === null || job.state !== 'in-progress')
        throw new CliError(
          `Job ${id} does not run (it is ${job.state}), so there is nothing to move.`,
        );
      const status = await migrate(output, { vm: vm.id, withinSeconds: within });
      const value = { drill: status, evidence: await readJob(api, id) };
      const present = () =>
        `${presentStatus(status)}\n\n${presentJob(value.evidence, output.now())}`;
      show(output, { json, value, present });
      failUnlessDone(status);
    });
}

async function migrate(
  output: Output,
  { vm, ...body }: { readonly vm: string; readonly to?: string; readonly withinSeconds?: number },
): Promise<MigrationStatus> {
  const api = findApi(output.environment);
  const { migrationId } = await callApi(api, {
    method: 'POST',
    path: `/vms/${encodeURIComponent(vm)}/migrate`,
    body,
    answer: z.object({ migrationId: MigrationId }),
  });
  return await follow(output, {
    read: () =>
      callApi(api, {
        method: 'GET',
        path: `/migrations/${encodeURIComponent(migrationId)}`,
        answer: MigrationStatus,
      }),
    isOver: ({ state }) => state === 'done' || state === 'failed',
    describe: presentProgress,
    whenStopped: `Stopped waiting. The move ${migrationId} goes on; its job's moves: architect job ID`,
  });
}

async function drain(output: Output, host: string, undo: boolean): Promise<DrainView> {
  const api = findApi(output.environment);
  const path = `/hosts/${encodeURIComponent(host)}/drain`;
  const first = await callApi(api, { method: 'POST', path, body: { undo }, answer: DrainView });
  if (undo) return first;
  return await follow(output, {
    read: () => callApi(api, { method: 'GET', path, answer: DrainView }),
    isOver: ({ vmsLeft, drained }) => vmsLeft === 0 || !drained,
    describe: ({ vmsLeft }) => `${vmsLeft} VMs are left on ${host}`,
    whenStopped: `Stopped waiting. ${host} stays drained; undo that with: architect drain ${host} --undo`,
  });
}

async function readJob(api: ApiAddress, id: string): Promise<JobDetail> {
  const path = `/jobs/${encodeURIComponent(id)}`;
  return await callApi(api, { method: 'GET', path, answer: JobDetail });
}

function presentStatus({ id, migration, why }: MigrationStatus): string {
  return migration === null ? `${id} did not begin. ${why ?? ''}`.trim() : presentMove(migration);
}

function presentDrain({ hostId, drained, vmsLeft }: DrainView): string {
  if (!drained) return `${hostId} takes VMs again.`;
  return vmsLeft === 0
    ? `${hostId} is empty and stays so.`
    : `${vmsLeft} VMs are left on ${hostId}.`;
}

/** What became of it was shown; the exit code says the same. */
function failUnlessDone({ id, state, why }: MigrationStatus): void {
  if (state !== 'done') throw new CliError(`The move ${id} did not succeed. ${why ?? ''}`.trim());
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 3_600) return seconds;
  throw new InvalidArgumentError('Wants whole seconds from 1 to 3600.');
}
