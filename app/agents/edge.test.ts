import { expect, test } from 'vitest';
import { parseArtifactPath } from './artifact-serving.ts';
import { chooseHostId } from './enrolment.ts';
import { RateLimit } from './rate-limit.ts';

const hex = 'a'.repeat(64);

test('an artifact path names a digest and a file', () => {
  expect(parseArtifactPath(`/artifacts/sha256-${hex}/disk.raw`)).toEqual({
    digest: `sha256:${hex}`,
    file: 'disk.raw',
  });
});

test.each([
  `/artifacts/sha256-${hex}/../../secret`,
  `/artifacts/sha256-${hex}/..%2fsecret`,
  `/artifacts/sha256-${hex}/`,
  `/artifacts/sha256-${hex.slice(1)}/disk.raw`,
  `/artifacts/../sha256-${hex}/disk.raw`,
  `/artifacts/sha256-${hex}/.hidden`,
])('%s is no artifact path', (path) => {
  expect(parseArtifactPath(path)).toBeUndefined();
});

test.each([
  ['Worker_1.example.org', 'worker-1-example-org-abc123'],
  ['---', 'host-abc123'],
  ['', 'host-abc123'],
  ['x'.repeat(200), `${'x'.repeat(40)}-abc123`],
])('host %j is called %s', (name, id) => {
  expect(chooseHostId(name, 'abc123')).toBe(id);
});

test('a caller gets its burst, then what time earns', () => {
  const limit = new RateLimit({ burst: 2, perMinute: 60, maxCallers: 10 });
  expect([limit.take('a', 0), limit.take('a', 0), limit.take('a', 0)]).toEqual([true, true, false]);
  expect(limit.take('b', 0)).toBe(true);
  expect(limit.take('a', 999)).toBe(false);
  expect(limit.take('a', 2_000)).toBe(true);
});
