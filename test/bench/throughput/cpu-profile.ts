/**
 * Where this thread's CPU time goes, by a sampling profiler: each sample belongs to the innermost
 * frame that is a file of the project or of a package, so that what Node does inside counts for
 * whoever called it.
 */

import type { Profiler } from 'node:inspector';
import { Session } from 'node:inspector/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const SAMPLING_US = 1_000;
const ROOT = new URL('../../..', import.meta.url).pathname;
const NOT_WORK = new Set(['(idle)', '(root)']);
const RUNTIME = new Map([
  ['(garbage collector)', 'garbage collector'],
  ['(program)', 'runtime'],
]);

export interface OwnedTime {
  readonly owner: string;
  readonly ms: number;
}

export interface RunningProfile {
  /** The largest first; the time in which the thread slept is left out. The same again, if asked. */
  stop(): Promise<readonly OwnedTime[]>;
}

export async function startCpuProfile(): Promise<RunningProfile> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_US });
  await session.post('Profiler.start');
  const end = async () => {
    const { profile } = await session.post('Profiler.stop');
    session.disconnect();
    return sumByOwner(profile);
  };
  let ended: ReturnType<typeof end> | undefined;
  return {
    stop: () => {
      ended ??= end();
      return ended;
    },
  };
}

function sumByOwner(profile: Profiler.Profile): readonly OwnedTime[] {
  const owners = ownersOf(profile.nodes);
  const sums = new Map<string, number>();
  for (const [index, id] of (profile.samples ?? []).entries()) {
    const owner = owners.get(id);
    if (owner === undefined) continue;
    sums.set(owner, (sums.get(owner) ?? 0) + (profile.timeDeltas?.[index] ?? 0) / 1000);
  }
  return [...sums].map(([owner, ms]) => ({ owner, ms })).sort((a, b) => b.ms - a.ms);
}

/** Undefined for what is not work. Parents come before their children. */
function ownersOf(nodes: readonly Profiler.ProfileNode[]): ReadonlyMap<number, string | undefined> {
  const owners = new Map<number, string | undefined>();
  const [root] = nodes;
  const open = root === undefined ? [] : [{ id: root.id, owner: 'runtime' }];
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const { id, owner: caller } of open) {
    const node = byId.get(id);
    if (node === undefined) continue;
    const { functionName, url } = node.callFrame;
    const owner = RUNTIME.get(functionName) ?? ownerOfFile(url) ?? caller;
    owners.set(id, NOT_WORK.has(functionName) ? undefined : owner);
    for (const child of node.children ?? []) open.push({ id: child, owner });
  }
  return owners;
}

/** `app/records`, `bullmq`; undefined for Node's own files. */
function ownerOfFile(url: string): string | undefined {
  if (url === '' || url.startsWith('node:')) return undefined;
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  const modules = path.split('/node_modules/').at(-1);
  if (modules !== undefined && modules !== path) {
    const [first = '', second = ''] = modules.split('/');
    return first.startsWith('@') ? `${first}/${second}` : first;
  }
  return relative(ROOT, path).split('/').slice(0, 2).join('/');
}
