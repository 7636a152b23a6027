/**
 * How a step of a workflow is told things, and tells them: GitHub's environment files and commands.
 *
 * https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
 */
import { appendFileSync } from 'node:fs';

export type StepEnvironment = Readonly<Record<string, string | undefined>>;

/** The runner's name of an input's variable: upper case, spaces as underscores. */
export function readInput(env: StepEnvironment, name: string): string {
  return env[`INPUT_${name.toUpperCase()}`]?.trim() ?? '';
}

/** For later steps. Throws outside a step. */
export function writeOutputs(env: StepEnvironment, values: Readonly<Record<string, string>>): void {
  const file = env.GITHUB_OUTPUT;
  if (file === undefined || file === '')
    throw new Error('This is not a step of a workflow: GITHUB_OUTPUT is not set.');
  appendFileSync(file, pairs(values));
}

/** For this action's own end, at the end of the job. */
export function writeState(env: StepEnvironment, values: Readonly<Record<string, string>>): void {
  if (env.GITHUB_STATE !== undefined) appendFileSync(env.GITHUB_STATE, pairs(values));
}

export function readState(env: StepEnvironment, name: string): string {
  return env[`STATE_${name}`] ?? '';
}

export function sayError(why: string): void {
  console.log(`::error title=Architect::${oneLine(why)}`);
}

export function sayWarning(why: string): void {
  console.log(`::warning title=Architect::${oneLine(why)}`);
}

/** A value that brought a line of its own would be another output. */
function pairs(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${oneLine(value)}\n`)
    .join('');
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ');
}
