/**
 * The action's two halves:
 *
 *   step           label from the inputs → runs-on
 *                  in a job on Architect: resize, then hold, or not; what the VM is → the other outputs
 *   end of job     what was held is let go, what was resized goes back; a move meanwhile is said
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { chooseLabel } from './choose-label.ts';
import type { Ask, GuestReply, VmView } from './guest-client.ts';
import {
  readInput,
  readState,
  type StepEnvironment,
  sayError,
  sayWarning,
  writeOutputs,
  writeState,
} from './workflow-commands.ts';

/** A VM that is being moved is held when that is over. */
const HOLD_LIMIT_MS = 10 * 60_000;
const LOOK_LIMIT_MS = 60_000;
/** It may have to be moved first, to a host with room. */
const RESIZE_LIMIT_MS = 10 * 60_000;
const RESIZE_LOOK_MS = 1_000;
const HELD = 'held';
const RESIZED = 'resized';

/** How the official runner of an Architect VM is called: `runnerNameOf` of app/records/records.ts. */
const OUR_RUNNER = /^architect-vm-[0-9a-f]+$/;

/** The exit code. `pauseMs`: between two looks at a resize that is under way. */
export async function runStep(
  env: StepEnvironment,
  ask: Ask,
  pauseMs = RESIZE_LOOK_MS,
): Promise<0 | 1> {
  const why = await tryStep({ env, ask, pauseMs });
  if (why === undefined) return 0;
  sayError(why);
  return 1;
}

interface Step {
  readonly env: StepEnvironment;
  readonly ask: Ask;
  readonly pauseMs: number;
}

/** Why it fails; undefined: it does not. */
async function tryStep(step: Step): Promise<string | undefined> {
  const { env } = step;
  const chosen = chooseLabel((name) => readInput(env, name));
  if (chosen.kind === 'refused') return chosen.why;
  const hold = readInput(env, 'hold').toLowerCase();
  if (!['', 'true', 'false'].includes(hold)) return 'The input "hold" wants true or false.';
  const isOurs = OUR_RUNNER.test(env.RUNNER_NAME ?? '');
  if (hold !== '' && !isOurs)
    return 'The input "hold" works in a job that runs on Architect only: `runs-on: architect`.';
  try {
    writeOutputs(env, { 'runs-on': chosen.label });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  console.log(`runs-on: ${chosen.label}`);
  return isOurs ? await dealWithVm(step, hold) : undefined;
}

async function dealWithVm(step: Step, hold: string): Promise<string | undefined> {
  const { env, ask } = step;
  const size = readInput(env, 'class');
  if (size !== '') {
    const why = await resize(step, size);
    if (why !== undefined) return `The VM is not resized to ${size}: ${why}`;
  }
  // First, since what was held is not known any more once it is let go.
  const before = await ask({ method: 'GET', path: '/v1/vm', limitMs: LOOK_LIMIT_MS });
  const reply = hold === '' || before.kind === 'refused' ? before : await setHold(hold, ask);
  if (reply.kind === 'refused') {
    if (hold !== '') return `The VM is not ${hold === 'true' ? 'held' : 'let go'}: ${reply.why}`;
    sayWarning(`Nothing is known of the VM: ${reply.why}`);
    return undefined;
  }
  if (hold === 'true') writeState(env, { [HELD]: 'true' });
  tellOutputs(env, hold === 'false' && before.kind === 'ok' ? before.view : reply.view);
  return undefined;
}

/** Why it has not that size; undefined: it has. */
async function resize({ env, ask, pauseMs }: Step, size: string): Promise<string | undefined> {
  const body = { class: size };
  const limitMs = LOOK_LIMIT_MS;
  let reply = await ask({ method: 'PUT', path: '/v1/class', body, limitMs });
  if (reply.kind === 'ok') writeState(env, { [RESIZED]: 'true' });
  const endMs = performance.now() + RESIZE_LIMIT_MS;
  while (reply.kind === 'ok' && reply.view.resize?.state === 'wanted') {
    if (performance.now() > endMs) return 'It takes too long.';
    await sleep(pauseMs);
    reply = await ask({ method: 'GET', path: '/v1/vm', limitMs });
  }
  if (reply.kind === 'refused') return reply.why;
  return reply.view.resize?.state === 'refused' ? reply.view.resize.why : undefined;
}

function setHold(hold: string, ask: Ask): Promise<GuestReply> {
  const body = { held: hold === 'true' };
  return ask({ method: 'PUT', path: '/v1/hold', body, limitMs: HOLD_LIMIT_MS });
}

function tellOutputs(env: StepEnvironment, view: VmView): void {
  const outputs = {
    class: view.class,
    'cpu-model': view.cpuModel ?? '',
    'price-per-hour': view.pricePerHourUsd === null ? '' : view.pricePerHourUsd.toFixed(6),
    moves: String(view.moves),
    moved: String(view.movesWhileHeld > 0),
  };
  writeOutputs(env, outputs);
  for (const [name, value] of Object.entries(outputs)) console.log(`${name}: ${value}`);
}

/** At the end of the job, which it never fails. */
export async function endStep(env: StepEnvironment, ask: Ask): Promise<void> {
  if (readState(env, HELD) === 'true') await letGo(ask);
  if (readState(env, RESIZED) !== 'true') return;
  const back = { method: 'PUT', path: '/v1/class', body: { class: null } } as const;
  const reply = await ask({ ...back, limitMs: LOOK_LIMIT_MS });
  if (reply.kind === 'refused')
    sayWarning(`The VM keeps its size until it ends, which is soon: ${reply.why}`);
}

async function letGo(ask: Ask): Promise<void> {
  const last = await ask({ method: 'GET', path: '/v1/vm', limitMs: LOOK_LIMIT_MS });
  if (last.kind === 'ok' && last.view.movesWhileHeld > 0)
    sayWarning(
      `The VM was moved while it was held (${last.view.movesWhileHeld} times): its host was taken back.`,
    );
  const released = await ask({
    ...{ method: 'PUT', path: '/v1/hold', body: { held: false }, limitMs: LOOK_LIMIT_MS },
  });
  if (released.kind === 'refused')
    sayWarning(`The VM is held until it ends, which is soon: ${released.why}`);
}
