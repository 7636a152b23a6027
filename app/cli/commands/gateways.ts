import type { Command } from 'commander';
import { GatewayList } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { type Output, show } from '../output.ts';
import { presentGateways } from '../present.ts';

interface Json {
  readonly json: boolean;
}

export function addGatewaysCommand(program: Command, output: Output): void {
  program
    .command('gateways')
    .description('list gateways')
    .option('--json', 'print JSON', false)
    .addHelpText('after', '\nExamples:\n  architect gateways\n  architect gateways --json')
    .action(async ({ json }: Json) => {
      const api = findApi(output.environment);
      showList(
        output,
        json,
        await callApi(api, { method: 'GET', path: '/gateways', answer: GatewayList }),
      );
    });
}

export function addTakeoverCommand(program: Command, output: Output): void {
  program
    .command('takeover')
    .description('have a standby gateway act; its connections live on')
    .argument('<gateway>', 'a standby, as listed by: architect gateways')
    .option('--json', 'print JSON', false)
    .addHelpText('after', '\nExample:\n  architect takeover gateway2-2ca58d')
    .action(async (gateway: string, { json }: Json) => {
      const path = `/gateways/${encodeURIComponent(gateway)}/takeover`;
      const api = findApi(output.environment);
      showList(
        output,
        json,
        await callApi(api, { method: 'POST', path, body: {}, answer: GatewayList }),
      );
    });
}

function showList(output: Output, json: boolean, value: GatewayList): void {
  const present = ({ gateways }: GatewayList) => presentGateways(gateways, output.now());
  show(output, { json, value, present });
}
