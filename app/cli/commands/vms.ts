import type { Command } from 'commander';
import { VmList } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { type Output, show } from '../output.ts';
import { presentVms } from '../present.ts';

const EXAMPLES = `
Examples:
  architect vms
  architect vms --json`;

export function addVmsCommand(program: Command, output: Output): void {
  program
    .command('vms')
    .description('list VMs')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async ({ json }: { json: boolean }) => {
      const value = await callApi(findApi(output.environment), {
        method: 'GET',
        path: '/vms',
        answer: VmList,
      });
      show(output, { json, value, present: ({ vms }) => presentVms(vms, output.now()) });
    });
}
