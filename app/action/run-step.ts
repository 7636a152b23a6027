/**
 * The action's two halves:
 *
 *   step           label from the inputs → runs-on
 *                  in a job on Architect: hold, or not; what the VM is → the other outputs
 *   end of job     what was held is let go; a move meanwhile is said
 */
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
const HELD = 'held';

/** How the official runner of an Architect VM is called: `runnerNameOf` of app/records/records.ts. */
const OUR_RUNNER = /^architect-vm-[0-9a-f]+$/;

/** The exit code. */
export async function runStep(env: StepEnvironment, ask: Ask): Promise<0 | 1> {
  const why = await tryStep(env, ask);
  if (why === undefined) return 0;
  sayError(why);
  return 1;
}

/** Why it fails; undefined: it does not. */
async function tryStep(env: StepEnvironment, ask: Ask): Promise<string | undefined> {
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
  return isOurs ? await dealWithVm(env, hold, ask) : undefined;
}

async function dealWithVm(
  env: StepEnvironment,
  hold: string,
  ask: Ask,
): Promise<string | undefined> {
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
  if (readState(env, HELD) !== 'true') return;
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
