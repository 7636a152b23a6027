/** Programs that work in a guest while it moves, and what they know in the end (in-guest.ts). */
import { z } from 'zod';
import type { VmId } from '../../../host-agent/protocol/ids.ts';
import { inGuest } from './in-guest.ts';
import type { MovingAgents } from './moving-agents.ts';

const Verdict = z.object({ rounds: z.int(), wrong: z.array(z.string()) });

/** Starts a program of Node in the guest, which goes on by itself. */
export function inBackground(program: string): string {
  return `cat >/root/program.mjs <<'PROGRAM'
${program}
PROGRAM
setsid /usr/local/bin/node /root/program.mjs </dev/null >/root/program.log 2>&1 &
disown
`;
}

/**
 * Keeps writing blocks of memory and of a file, and knows what each has to hold: a digest of its place
 * and of how often it was written. Each is compared before it is written again, and all of them, the
 * disk's without the guest's page cache, when /root/verify is there. Each time it writes `blocks` of
 * 64 KiB of its memory and one of its file.
 */
export function churn({ everyMs, blocks }: { readonly everyMs: number; readonly blocks: number }) {
  return `
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
const BLOCK = 65536;
const counts = { memory: new Array(192).fill(0), disk: new Array(96).fill(0) };
const contentOf = (kind, at) =>
  Buffer.alloc(BLOCK, createHash('sha256').update(kind + ' ' + at + ' ' + counts[kind][at]).digest());
const memory = counts.memory.map((_, at) => contentOf('memory', at));
const file = fs.openSync('/root/churn', 'w+');
const write = (at) => fs.writeSync(file, contentOf('disk', at), 0, BLOCK, at * BLOCK);
const read = (at) => {
  const bytes = Buffer.alloc(BLOCK);
  fs.readSync(file, bytes, 0, BLOCK, at * BLOCK);
  return bytes;
};
counts.disk.forEach((_, at) => write(at));
const wrong = [];
const check = (kind, at) => {
  const seen = kind === 'memory' ? memory[at] : read(at);
  if (!seen.equals(contentOf(kind, at))) wrong.push(kind + ' ' + at);
};
let rounds = 0;
const churn = (kind) => {
  const at = Math.floor(Math.random() * counts[kind].length);
  check(kind, at);
  counts[kind][at] += 1;
  if (kind === 'memory') contentOf(kind, at).copy(memory[at]);
  else write(at);
};
const tick = () => {
  for (let turn = 0; turn < ${blocks}; turn += 1) churn('memory');
  churn('disk');
  rounds += 1;
  if (rounds % 20 === 0) fs.fdatasyncSync(file);
  if (!fs.existsSync('/root/verify')) return setTimeout(tick, ${everyMs});
  fs.fsyncSync(file);
  execFileSync('/bin/bash', ['-c', 'sync; echo 3 >/proc/sys/vm/drop_caches']);
  for (const kind of ['memory', 'disk']) counts[kind].forEach((_, at) => check(kind, at));
  fs.writeFileSync('/root/verdict', JSON.stringify({ rounds, wrong: wrong.slice(0, 10) }));
  fs.rmSync('/root/verify');
  setTimeout(tick, ${everyMs});
};
tick();
`;
}

const VERIFY = `rm -f /root/verdict; touch /root/verify
for turn in $(seq 300); do [ -e /root/verify ] || break; sleep 0.1; done
cat /root/verdict || { cat /root/program.log; exit 1; }
`;

/**
 * Writes to its memory at a rate that follows its CPU: so many bytes for so much work, measured once,
 * with all of its CPU. (A guest that is slowed down from outside does not see it in its own clocks.)
 */
export const FAST_WRITER = `
const BYTES_PER_SECOND = 25e6;
const PAGE = 4096;
const memory = Buffer.alloc(48 * 1024 * 1024, 1);
let sink = 0;
const work = (turns) => {
  for (let turn = 0; turn < turns; turn += 1) sink = (sink * 31 + turn) | 0;
};
work(1e6);
const began = process.hrtime.bigint();
work(1e7);
const perSecond = 1e7 / (Number(process.hrtime.bigint() - began) / 1e9);
const perPage = Math.round((perSecond * PAGE) / BYTES_PER_SECOND);
let round = 0;
const write = () => {
  round += 1;
  for (let at = 0; at < memory.length; at += PAGE) {
    memory.writeUInt32LE((round * 2654435761 + sink) >>> 0, at + (round % 1000) * 4);
    work(perPage);
  }
  setImmediate(write);
};
write();
`;

/** What the guest says of all that it wrote; throws what it does not have any more. */
export async function expectIntact(
  agents: MovingAgents,
  at: { readonly vmId: VmId; readonly host: string },
): Promise<{ readonly rounds: number }> {
  const verdict = Verdict.parse(JSON.parse(await inGuest(agents, { ...at, script: VERIFY })));
  if (verdict.wrong.length > 0) throw new Error(`The guest has lost ${verdict.wrong.join(', ')}.`);
  return verdict;
}
