import type { Command } from 'commander';
import type { JobId } from '../../../host-agent/protocol/ids.ts';
import { JobDetail } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { parseJobId } from '../arguments.ts';
import { type Output, show } from '../output.ts';
import { presentJob } from '../present.ts';

const EXAMPLES = `
Example:
  architect job 4815162342        state, why, VM, host, timeline and moves of one job`;

export function addJobCommand(program: Command, output: Output): void {
  program
    .command('job')
    .description('show one job: state, why, VM, host, timeline, moves')
    .argument('<id>', "GitHub's id of the job", parseJobId)
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async (id: JobId, { json }: { json: boolean }) => {
      const value = await callApi(findApi(output.environment), {
        method: 'GET',
        path: `/jobs/${encodeURIComponent(id)}`,
        answer: JobDetail,
      });
      const nowMs = output.now();
      show(output, { json, value, present: (detail) => presentJob(detail, nowMs) });
    });
}
