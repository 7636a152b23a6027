import { expect, test } from 'vitest';
import { GithubDeniedError, parseRateLimit, toGithubError } from './errors.ts';

const NOW_MS = 1_700_000_000_000;
const inTenSeconds = String(NOW_MS / 1000 + 10);

test.each([
  ['a named wait', 403, { 'retry-after': '30' }, 30_000],
  [
    'a primary limit',
    403,
    { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': inTenSeconds },
    10_000,
  ],
  [
    'a limit that has just been reset',
    403,
    { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '1' },
    1_000,
  ],
  ['a limit without a time', 429, {}, 60_000],
  ['an absurd wait', 429, { 'retry-after': '999999999' }, 3_600_000],
  ['a missing permission', 403, { 'x-ratelimit-remaining': '12' }, undefined],
  ['a missing thing', 404, { 'retry-after': '30' }, undefined],
])('%s', (_name, status, headers, waitMs) => {
  const expected = waitMs === undefined ? undefined : NOW_MS + waitMs;
  expect(parseRateLimit({ status, headers }, NOW_MS)).toBe(expected);
});

function httpError(status: number): Error {
  const request = { method: 'POST', url: 'https://x/', headers: {} };
  const response = { status, url: 'https://x/', headers: {}, data: { encoded_jit_config: 'abc' } };
  return Object.assign(new Error(`secret-text ${status}`), { status, request, response });
}

test.each([
  [httpError(401), 'GITHUB_AWAY', 'later'],
  [httpError(502), 'GITHUB_AWAY', 'later'],
  [new TypeError('fetch failed'), 'GITHUB_AWAY', 'later'],
  [httpError(429), 'GITHUB_RATE_LIMITED', 'later'],
  [httpError(403), 'GITHUB_DENIED', 'never'],
  [httpError(422), 'GITHUB_DENIED', 'never'],
])('%s becomes %s', (error, code, retry) => {
  const known = toGithubError(error, 'do it', NOW_MS);
  expect(known).toMatchObject({ code, retry });
  expect(known.cause).toBeUndefined();
  expect(JSON.stringify({ ...known, message: known.message })).not.toMatch(/secret-text|abc/);
});

test('an error that is known already stays what it is', () => {
  const error = new GithubDeniedError('no', 404);
  expect(toGithubError(error, 'do it', NOW_MS)).toBe(error);
});
