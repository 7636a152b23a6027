import { expect, it } from 'vitest';
import { parseDeb822Sources, parseOneLineSources } from './apt-mirror.ts';
import { formatBackportsSource, formatGuestSources } from './debian-sources.ts';

const MIRROR = { archive: 'http://mirror.example/debian', security: 'http://sec.example/d' };

it('gives the guest its own suite from the machine’s mirror', () => {
  const suites = parseOneLineSources(formatGuestSources(MIRROR)).map(({ uri, suite }) => [
    uri,
    suite,
  ]);
  expect(suites).toEqual([
    [MIRROR.archive, 'trixie'],
    [MIRROR.archive, 'trixie-updates'],
    [MIRROR.security, 'trixie-security'],
  ]);
});

it('names no security source that the machine does not have', () => {
  expect(formatGuestSources({ ...MIRROR, security: undefined })).not.toContain('security');
  expect(formatGuestSources(undefined)).toBe('');
});

it('writes backports as apt reads them', () => {
  expect(parseDeb822Sources(formatBackportsSource(MIRROR, 'bookworm'))).toEqual([
    { uri: MIRROR.archive, suite: 'bookworm-backports', components: ['main'] },
  ]);
});
