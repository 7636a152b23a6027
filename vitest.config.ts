import { defineConfig } from 'vitest/config';

const MINUTE_MS = 60_000;

/**
 * Real VMs share two cores in the heavier suites, so those run one file at a time. The unit tests' files
 * share their workers' modules: half of their time would be spent on loading them.
 */
function suite(
  name: string,
  include: string[],
  timeoutMs: number,
  env: Record<string, string> = {},
) {
  const serial = name !== 'unit';
  return {
    test: {
      name,
      include,
      env,
      testTimeout: timeoutMs,
      hookTimeout: timeoutMs,
      // A busy machine is no reason to fail: what is waited for has as long as the test.
      expect: { poll: { timeout: timeoutMs, interval: 20 } },
      fileParallelism: !serial,
      isolate: serial,
    },
  };
}

export default defineConfig({
  test: {
    projects: [
      suite(
        'unit',
        ['{app,host-agent,runner-image,bpf}/**/*.test.ts', 'test/rules/*.test.ts'],
        20_000,
      ),
      suite('contract', ['test/contract/**/*.test.ts'], 2 * MINUTE_MS),
      suite('integration', ['test/integration/**/*.test.ts'], 5 * MINUTE_MS),
      // `npm run soak -- --faults`: what takes too long for each run of the tests.
      suite(
        'soak',
        ['test/integration/**/faults-*.test.ts', 'test/{integration,e2e}/**/*.soak.ts'],
        5 * MINUTE_MS,
      ),
      // `npm run soak -- --github`: GitHub's worst hours take their hours.
      suite('github-in-real-time', ['test/integration/intake/faults*.ts'], 75 * MINUTE_MS, {
        ARCHITECT_TEST_GITHUB_PACE: '1',
      }),
      suite('e2e', ['test/e2e/**/*.test.ts'], 8 * MINUTE_MS),
    ],
  },
});
