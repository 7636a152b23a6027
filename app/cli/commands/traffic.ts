import type { Command } from 'commander';
import { VmTrafficView } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { type Output, show } from '../output.ts';
import { presentTraffic } from '../present-traffic.ts';

const EXAMPLES = `
Examples:
  architect traffic vm-1a2b3c4d
  architect traffic vm-1a2b3c4d --json`;

export function addTrafficCommand(program: Command, output: Output): void {
  program
    .command('traffic')
    .description("show what a VM's gateway has counted: where its bytes went, what was dropped")
    .argument('<vm>', 'as listed by: architect vms')
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async (vm: string, { json }: { json: boolean }) => {
      const value = await callApi(findApi(output.environment), {
        method: 'GET',
        path: `/vms/${encodeURIComponent(vm)}/traffic`,
        answer: VmTrafficView,
      });
      show(output, { json, value, present: presentTraffic });
    });
}
