import { type Command, Option } from 'commander';
import { JobList } from '../../api/views.ts';
import { JobRecord } from '../../records/records.ts';
import { callApi, findApi } from '../api-client.ts';
import { parseCount } from '../arguments.ts';
import { type Output, show } from '../output.ts';
import { presentJobs } from '../present.ts';

const EXAMPLES = `
Examples:
  architect jobs
  architect jobs --state queued --json`;

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 500;

export function addJobsCommand(program: Command, output: Output): void {
  const states = new Option('--state <state>', 'only jobs in this state');
  program
    .command('jobs')
    .description('list jobs, newest first')
    .addOption(states.choices(JobRecord.shape.state.options))
    .option('--limit <count>', 'at most so many (1 to 500)', parseLimit, DEFAULT_LIMIT)
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async (options: { state?: string; limit: number; json: boolean }) => {
      const { state, limit, json } = options;
      const query = { limit: String(limit), ...(state === undefined ? {} : { state }) };
      const value = await callApi(findApi(output.environment), {
        method: 'GET',
        path: '/jobs',
        query,
        answer: JobList,
      });
      show(output, { json, value, present: ({ jobs }) => presentJobs(jobs, output.now()) });
    });
}

function parseLimit(text: string): number {
  return parseCount(text, MAX_LIMIT);
}
