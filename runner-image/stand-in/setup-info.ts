/**
 * What whoever prepared the machine has to say of it: `.setup_info` in the runner's folder, printed
 * into "Set up job" as the official runner does (actions/runner, src/Runner.Worker/JobExtension.cs).
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const DEFAULT_GROUP = 'Machine Setup Info';

/** The log's text; empty without a file. A file that makes no sense is said so, and holds up nothing. */
export async function readSetupInfo(runnerDir: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(join(runnerDir, '.setup_info'), 'utf8');
  } catch {
    return '';
  }
  try {
    return formatSetupInfo(JSON.parse(text));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return `Fail to load and print machine setup info: ${why}\n`;
  }
}

/** Throws on what is no list of groups. */
export function formatSetupInfo(groups: unknown): string {
  if (!Array.isArray(groups)) throw new Error('It is no list.');
  return groups.map((group) => formatGroup(group ?? {})).join('');
}

function formatGroup({ group, detail }: { readonly group?: unknown; readonly detail?: unknown }) {
  if (detail === undefined || detail === null || detail === '') return '';
  if (typeof detail !== 'string') throw new Error('A detail is no text.');
  const name = typeof group === 'string' && group !== '' ? group : DEFAULT_GROUP;
  const lines = detail.replaceAll('\r\n', '\n').replace(/\n+$/, '');
  return `##[group]${name}\n${lines}\n##[endgroup]\n`;
}
