import type { Command } from 'commander';
import { HostList } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { type Output, show } from '../output.ts';
import { presentHosts } from '../present.ts';

const EXAMPLES = `
Examples:
  architect hosts
  architect hosts --json`;

export function addHostsCommand(program: Command, output: Output): void {
  program
    .command('hosts')
    .description('list hosts')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async ({ json }: { json: boolean }) => {
      const value = await callApi(findApi(output.environment), {
        method: 'GET',
        path: '/hosts',
        answer: HostList,
      });
      show(output, { json, value, present: ({ hosts }) => presentHosts(hosts, output.now()) });
    });
}
