/**
 * GitHub's worst hours with all of GitHub's own durations (an hour's token, a minute's points, a pause
 * of a minute): mostly waiting, so that each case is a process of its own and all go on side by side.
 */
import { execa } from 'execa';
import { z } from 'zod';
import { formatDuration } from '../app/cli/table.ts';

const PROJECT = 'github-in-real-time';
const CASE_LIMIT_MS = 80 * 60_000;
const Cases = z.array(z.object({ name: z.string().min(1), file: z.string() }));

type Case = z.infer<typeof Cases>[number];

/** False when a case did not end as it must; its output is written. `only`: cases whose name has it. */
export async function soakGithub(
  only: string | undefined,
  write: (text: string) => void,
): Promise<boolean> {
  const cases = (await listCases()).filter(({ name }) => name.includes(only ?? ''));
  if (cases.length === 0) write('No case has such a name.');
  const green = await Promise.all(cases.map((one) => soakCase(one, write)));
  write(`${green.filter(Boolean).length} of ${cases.length} green`);
  return cases.length > 0 && green.every(Boolean);
}

async function listCases(): Promise<readonly Case[]> {
  const { stdout } = await execa('vitest', ['list', '--project', PROJECT, '--json'], {
    preferLocal: true,
  });
  return Cases.parse(JSON.parse(stdout));
}

async function soakCase({ name, file }: Case, write: (text: string) => void): Promise<boolean> {
  const beganMs = performance.now();
  const literal = (text: string) => text.replace(/[^A-Za-z0-9 ]/g, '.');
  const pattern = `^${name.split('%s').map(literal).join('.*')}$`;
  const args = ['run', '--project', PROJECT, file, '--testNamePattern', pattern];
  const { exitCode, all } = await execa('vitest', args, {
    ...{ preferLocal: true, reject: false, all: true },
    timeout: CASE_LIMIT_MS,
  });
  const green = exitCode === 0;
  const took = formatDuration(performance.now() - beganMs);
  write(`${green ? 'green' : 'FAILED'} after ${took}: ${name}`);
  if (!green) write(all);
  return green;
}
