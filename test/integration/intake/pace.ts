/**
 * How many of GitHub's seconds pass in one of the machine's: 60 for `npm test`, 1 for
 * `npm run soak -- --github`, which waits for all that GitHub makes one wait for.
 */
export const PACE = Number(process.env.ARCHITECT_TEST_GITHUB_PACE ?? '60');
export const IN_REAL_TIME = PACE === 1;

/** GitHub's minute, by the machine's clock. */
export const MINUTE_MS = 60_000 / PACE;
