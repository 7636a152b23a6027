/** Longer tests of moves than `npm test` has time for (faults-*, flows-through-moves). */
import { execa } from 'execa';

const FOLDER = 'test/integration/migration';
const FLEETS = 'test/e2e';
const HOP_LIMIT_MS = 60_000;
const FLOWS_LIMIT_MS = 20_000;
const FAULTS_LIMIT_MS = 90 * 60_000;

/** One VM hops back and forth between two hosts. False when it lost something on its way. */
export async function soakHops(hops: number): Promise<boolean> {
  const env = { ARCHITECT_TEST_HOPS: String(hops) };
  const only = [`${FOLDER}/faults-hops.test.ts`];
  return await runTests({ env, only, limitMs: (hops + 10) * HOP_LIMIT_MS });
}

/** Every fault at every step of a move, and GitHub's worst hours. False when one had another outcome than it must. */
export async function soakFaults(): Promise<boolean> {
  const env = { ARCHITECT_TEST_FAULTS: 'all' };
  const only = [`${FOLDER}/faults-`, `${FLEETS}/faults-`, 'test/integration/intake/faults-'];
  return await runTests({ env, only, limitMs: FAULTS_LIMIT_MS });
}

/** A VM's stand-in moves under many connections. False when one broke or too much was lost. */
export async function soakFlows(moves: number): Promise<boolean> {
  const env = { ARCHITECT_TEST_MOVES: String(moves) };
  const only = ['test/integration/net/bpf/flows-through-moves.test.ts'];
  return await runTests({
    env,
    only,
    project: 'integration',
    limitMs: (moves + 10) * FLOWS_LIMIT_MS,
  });
}

/** vitest says what failed. */
async function runTests({
  env,
  only,
  project = 'soak',
  limitMs,
}: {
  readonly env: Record<string, string>;
  readonly only: readonly string[];
  readonly project?: 'soak' | 'integration';
  readonly limitMs: number;
}): Promise<boolean> {
  const { exitCode } = await execa('vitest', ['run', '--project', project, ...only], {
    env,
    preferLocal: true,
    stdio: 'inherit',
    reject: false,
    timeout: limitMs,
  });
  return exitCode === 0;
}
