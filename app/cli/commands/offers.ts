import type { Command } from 'commander';
import { MarketView } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { parseCount } from '../arguments.ts';
import { type Output, show } from '../output.ts';
import { presentMarket } from '../present-market.ts';

const DEFAULT_ROWS = 15;
const MAX_ROWS = 1_000;

const EXAMPLES = `
Examples:
  architect offers                what hosts cost now, and why those that run were bought
  architect offers --rows 100
  architect offers --json         all of it`;

export function addOffersCommand(program: Command, output: Output): void {
  program
    .command('offers')
    .description('list hosts on sale, and what was bought and given back, with the reasons')
    .option('--rows <count>', 'how many offers and decisions to show', parseRows, DEFAULT_ROWS)
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async ({ rows, json }: { rows: number; json: boolean }) => {
      const value = await callApi(findApi(output.environment), {
        method: 'GET',
        path: '/offers',
        answer: MarketView,
      });
      const nowMs = output.now();
      show(output, { json, value, present: (market) => presentMarket(market, { rows, nowMs }) });
    });
}

function parseRows(text: string): number {
  return parseCount(text, MAX_ROWS);
}
