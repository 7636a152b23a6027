/**
 * The action of action.yml. GitHub's runner starts it with its own Node 24, from a bare checkout:
 * nothing is imported that has to be installed.
 *
 * https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
 */
import { appendFileSync } from 'node:fs';
import { chooseLabel } from './choose-label.ts';

/** The runner's name of an input's variable: upper case, spaces as underscores. */
const input = (name: string) => process.env[`INPUT_${name.toUpperCase()}`]?.trim() ?? '';

const chosen = chooseLabel(input);
const output = process.env.GITHUB_OUTPUT;
if (chosen.kind === 'refused') fail(chosen.why);
else if (output === undefined) fail('This is not a step of a workflow: GITHUB_OUTPUT is not set.');
else {
  appendFileSync(output, `runs-on=${chosen.label}\n`);
  console.log(`runs-on: ${chosen.label}`);
}

function fail(why: string): void {
  console.log(`::error title=Architect::${why}`);
  process.exitCode = 1;
}
