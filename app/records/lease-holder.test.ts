import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { type ProcessRef, readProcess } from '../process-ref.ts';
import { isOfTheDead, ownToken } from './lease-holder.ts';

/** What this process would say, were it the one that `changed` says. */
function tokenOf(changed: { readonly process?: ProcessRef; readonly place?: string }): string {
  return JSON.stringify({ ...JSON.parse(ownToken('a')), ...changed });
}

async function endedProcess(): Promise<ProcessRef> {
  const child = spawn('sleep', ['60']);
  const ref = readProcess(child.pid ?? 0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  if (ref === undefined) throw new Error('it ended too early');
  return ref;
}

test('one that runs is not dead', () => {
  expect(isOfTheDead(ownToken('a'))).toBe(false);
});

test('one that was killed here is dead, also when another has its pid', async () => {
  expect(isOfTheDead(tokenOf({ process: await endedProcess() }))).toBe(true);
  expect(isOfTheDead(tokenOf({ process: { pid: process.pid, startTime: '1' } }))).toBe(true);
});

test('a pid of elsewhere, or no pid, says nothing', async () => {
  const dead = await endedProcess();
  const { place } = JSON.parse(ownToken('a'));
  const parts = String(place).split(' ');
  for (const index of parts.keys()) {
    const elsewhere = parts.with(index, 'other').join(' ');
    expect(isOfTheDead(tokenOf({ process: dead, place: elsewhere }))).toBe(false);
  }
  expect(isOfTheDead('6f2c7d7e-9f0c-4b43-8f3c-0d6a6c0e8c55')).toBe(false);
  expect(isOfTheDead('')).toBe(false);
});
