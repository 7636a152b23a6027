/** `node backports-source.ts bookworm`: prints the apt source of that release's backports. */
import { readDebianMirror } from './apt-mirror.ts';
import { formatBackportsSource } from './debian-sources.ts';

const [codename = ''] = process.argv.slice(2);
const mirror = readDebianMirror(codename);
if (mirror === undefined) {
  process.stderr.write(
    `setup: no mirror of Debian ${codename} in this machine's apt configuration (/etc/apt/sources.list, /etc/apt/sources.list.d). Add one, then run this again.\n`,
  );
  process.exitCode = 1;
} else {
  process.stdout.write(formatBackportsSource(mirror, codename));
}
