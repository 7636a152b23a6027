/** apt sources for the mirror that this machine uses (sources.list(5)). */
import type { DebianMirror } from './apt-mirror.ts';
import { GUEST_SUITE } from './profiles.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** One-line sources of the guest; empty without a mirror, and mmdebstrap then has its default. */
export function formatGuestSources(mirror: DebianMirror | undefined): string {
  if (mirror === undefined) return '';
  const archive = [GUEST_SUITE, `${GUEST_SUITE}-updates`].map(
    (suite) => `deb ${mirror.archive} ${suite} main`,
  );
  const security =
    mirror.security === undefined ? [] : [`deb ${mirror.security} ${GUEST_SUITE}-security main`];
  return `${[...archive, ...security].join('\n')}\n`;
}

/** A deb822 source for the backports of `codename`. */
export function formatBackportsSource(mirror: DebianMirror, codename: string): string {
  return [
    'Types: deb',
    `URIs: ${mirror.archive}`,
    `Suites: ${codename}-backports`,
    'Components: main',
    `Signed-By: ${KEYRING}`,
    '',
  ].join('\n');
}
