import { expect, it } from 'vitest';
import { parseOsRelease } from './host-release.ts';

it.each([
  ['ID=debian\nVERSION_CODENAME=trixie\n', { id: 'debian', codename: 'trixie' }],
  [
    'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME="noble"\n',
    { id: 'ubuntu', codename: 'noble' },
  ],
  ['', { id: '', codename: '' }],
])('%j', (text, wanted) => {
  expect(parseOsRelease(text)).toEqual(wanted);
});
