import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { VmId } from '../../host-agent/protocol/ids.ts';
import { runnerNameOf } from '../records/records.ts';
import type { Ask, GuestQuestion, GuestReply, VmView } from './guest-client.ts';
import { endStep, runStep } from './run-step.ts';

const VIEW: VmView = {
  class: '2cpu-4gb',
  cpuModel: 'Model T',
  pricePerHourUsd: 0.0125,
  moves: 2,
  held: false,
  movesWhileHeld: 0,
  resize: null,
};
const OURS = { RUNNER_NAME: runnerNameOf(VmId.parse('vm-0a1b2c3d')) };
const OUTPUTS = 'class=2cpu-4gb\ncpu-model=Model T\nprice-per-hour=0.012500\nmoves=2\n';

let dir: string;
let said: string[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'architect-step-'));
  said = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void said.push(line));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true, force: true });
});

/** A VM that answers with what it is, held as it was told last. */
function vm(over: Partial<VmView> = {}) {
  const asked: string[] = [];
  let view = { ...VIEW, ...over };
  const ask = async ({ method, path, body }: GuestQuestion): Promise<GuestReply> => {
    asked.push(`${method} ${path}`);
    if (body !== undefined) {
      const held = 'held' in body && body.held === true;
      view = { ...view, held, movesWhileHeld: held ? view.movesWhileHeld : 0 };
    }
    return { kind: 'ok', view };
  };
  return { asked, ask };
}

const nobody = async (): Promise<GuestReply> => ({ kind: 'refused', why: 'Nobody answers.' });

async function step(env: Readonly<Record<string, string>>, ask: Ask = nobody) {
  const files = { GITHUB_OUTPUT: join(dir, 'output'), GITHUB_STATE: join(dir, 'state') };
  const exitCode = await runStep({ ...files, ...env }, ask, 1);
  return { exitCode, output: read('output'), state: read('state') };
}

function read(name: string): string {
  try {
    return readFileSync(join(dir, name), 'utf8');
  } catch {
    return '';
  }
}

it('in a job on Architect tells what its VM is', async () => {
  const { asked, ask } = vm();
  expect(await step(OURS, ask)).toEqual({
    exitCode: 0,
    output: `runs-on=architect\n${OUTPUTS}moved=false\n`,
    state: '',
  });
  expect(asked).toEqual(['GET /v1/vm']);
});

it('holds the VM, remembers that for the end, and says that it moved meanwhile', async () => {
  const { asked, ask } = vm({ movesWhileHeld: 1 });
  const { output, state } = await step({ ...OURS, INPUT_HOLD: 'True' }, ask);
  expect([output.endsWith('moved=true\n'), state]).toEqual([true, 'held=true\n']);
  await endStep({ STATE_held: 'true' }, ask);
  expect(asked).toEqual(['GET /v1/vm', 'PUT /v1/hold', 'GET /v1/vm', 'PUT /v1/hold']);
  expect(said.at(-1)).toContain('::warning title=Architect::The VM was moved while it was held');
});

it('lets it go, and says what happened until then', async () => {
  const { ask } = vm({ held: true, movesWhileHeld: 3 });
  const { output, state } = await step({ ...OURS, INPUT_HOLD: 'false' }, ask);
  expect([output.endsWith('moved=true\n'), state]).toEqual([true, '']);
});

it('asks nobody outside Architect, and fails what can only be had there', async () => {
  const { asked, ask } = vm();
  for (const RUNNER_NAME of ['GitHub Actions 7', 'architect-1', 'architect-vm-x'])
    expect(await step({ RUNNER_NAME }, ask)).toMatchObject({ exitCode: 0 });
  expect(await step({ INPUT_HOLD: 'true' }, ask)).toMatchObject({ exitCode: 1 });
  expect(said.at(-1)).toBe(
    '::error title=Architect::The input "hold" works in a job that runs on Architect only: `runs-on: architect`.',
  );
  expect(asked).toEqual([]);
});

it('fails what nobody does, and warns where nothing is known', async () => {
  expect(await step({ ...OURS, INPUT_HOLD: 'true' })).toMatchObject({ exitCode: 1, state: '' });
  expect(said.at(-1)).toContain('::error title=Architect::The VM is not held: Nobody answers.');
  expect(await step(OURS)).toMatchObject({ exitCode: 0 });
  expect(said.at(-1)).toContain('::warning title=Architect::Nothing is known of the VM');
});

it('refuses a hold that is neither, before it asks', async () => {
  const { asked, ask } = vm();
  expect(await step({ ...OURS, INPUT_HOLD: 'maybe' }, ask)).toMatchObject({ exitCode: 1 });
  expect(asked).toEqual([]);
});

it('writes no output that the answer smuggles in', async () => {
  const { ask } = vm({ cpuModel: 'x\nruns-on=architect/cpu=256' });
  const { output } = await step(OURS, ask);
  expect(output.match(/^runs-on=/gm)).toHaveLength(1);
});

it('ends without a word where nothing was held', async () => {
  const { asked, ask } = vm();
  await endStep({}, ask);
  expect([asked, said]).toEqual([[], []]);
});

/** A VM whose resize is under way for some looks, and then is so. */
function resizing(state: 'done' | 'refused', why = '') {
  const asked: string[] = [];
  const ask = async ({ method, path, body }: GuestQuestion): Promise<GuestReply> => {
    asked.push(`${method} ${path} ${JSON.stringify(body ?? '')}`);
    const resize = asked.length < 4 ? { state: 'wanted' as const, why: '' } : { state, why };
    return { kind: 'ok', view: { ...VIEW, class: '8cpu-16gb', resize } };
  };
  return { asked, ask };
}

it('resizes the VM before it holds it, and gives it back at the end', async () => {
  const { asked, ask } = resizing('done');
  const { output, state } = await step({ ...OURS, INPUT_CLASS: 'large', INPUT_HOLD: 'true' }, ask);
  expect(output).toContain('class=8cpu-16gb\n');
  expect(state).toBe('resized=true\nheld=true\n');
  await endStep({ STATE_resized: 'true' }, ask);
  expect(asked).toEqual([
    'PUT /v1/class {"class":"large"}',
    ...Array.from({ length: 4 }, () => 'GET /v1/vm ""'),
    'PUT /v1/hold {"held":true}',
    'PUT /v1/class {"class":null}',
  ]);
});

it('fails where the VM cannot be resized, and says why', async () => {
  const { ask } = resizing('refused', 'No host has room.');
  expect(await step({ ...OURS, INPUT_CLASS: 'large' }, ask)).toMatchObject({ exitCode: 1 });
  const why = 'The VM is not resized to large: No host has room.';
  expect(said.at(-1)).toBe(`::error title=Architect::${why}`);
  expect(await step({ ...OURS, INPUT_CLASS: 'large' })).toMatchObject({ exitCode: 1 });
  expect(said.at(-1)).toContain('Nobody answers.');
});
