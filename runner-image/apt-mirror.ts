/**
 * The Debian mirror that this machine already uses, read from its own apt configuration: what the
 * operator chose (a local mirror, a cloud's, a proxy's) also serves backports and the guest.
 *
 * Both source formats are understood (sources.list(5)): one-line `.list` and deb822 `.sources`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArchitectError } from '../host-agent/protocol/errors.ts';

export interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
}

/** Where Debian comes from: the archive itself and, when the machine has it, security updates. */
export interface DebianMirror {
  readonly archive: string;
  readonly security: string | undefined;
}

export class MirrorError extends ArchitectError {
  readonly code = 'APT_MIRROR';
  readonly retry = 'never';
}

/** Parses one-line entries. Only enabled `deb` lines count. */
export function parseOneLineSources(text: string): AptSource[] {
  return text.split('\n').flatMap((line) => {
    const bare = line.replace(/#.*/, '').trim();
    const match = /^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(bare);
    const [, uri, suite, components = ''] = match ?? [];
    return uri && suite ? [{ uri, suite, components: splitWords(components) }] : [];
  });
}

/** Parses deb822 stanzas; several URIs or suites in one stanza become one source each. */
export function parseDeb822Sources(text: string): AptSource[] {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  return lines
    .join('\n')
    .split(/\n\s*\n/)
    .flatMap((stanza) => readStanza(parseFields(stanza)));
}

function readStanza(fields: ReadonlyMap<string, string>): AptSource[] {
  const enabled = !['no', 'false', '0'].includes((fields.get('enabled') ?? 'yes').toLowerCase());
  if (!enabled || !splitWords(fields.get('types') ?? '').includes('deb')) return [];
  const components = splitWords(fields.get('components') ?? '');
  return splitWords(fields.get('uris') ?? '').flatMap((uri) =>
    splitWords(fields.get('suites') ?? '').map((suite) => ({ uri, suite, components })),
  );
}

function parseFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let current: string | undefined;
  for (const line of stanza.split('\n')) {
    const match = /^([A-Za-z0-9-]+):(.*)$/.exec(line);
    if (match?.[1] !== undefined) {
      current = match[1].toLowerCase();
      fields.set(current, (match[2] ?? '').trim());
    } else if (current !== undefined && /^\s/.test(line)) {
      fields.set(current, `${fields.get(current)} ${line.trim()}`);
    }
  }
  return fields;
}

function splitWords(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/**
 * Picks the mirror that serves `codename`, a Debian release. Undefined when no source does (a
 * machine that is not Debian, or one installed from a disc only).
 */
export function chooseDebianMirror(
  sources: readonly AptSource[],
  codename: string,
): DebianMirror | undefined {
  const usable = sources.filter(
    ({ uri, components }) =>
      /^(https?|file|copy|mirror\+file):/.test(uri) && components.includes('main'),
  );
  const archive = usable.find(({ suite }) => suite === codename)?.uri;
  if (archive === undefined) return undefined;
  return { archive, security: usable.find(({ suite }) => suite === `${codename}-security`)?.uri };
}

/** Reads every enabled source under `aptDir` and picks the mirror; follows `mirror+file:` lists. */
export function readDebianMirror(codename: string, aptDir = '/etc/apt'): DebianMirror | undefined {
  const mirror = chooseDebianMirror(readAptSources(aptDir), codename);
  if (mirror === undefined) return undefined;
  const security = mirror.security === undefined ? undefined : resolveMirrorFile(mirror.security);
  return { archive: resolveMirrorFile(mirror.archive), security };
}

function readAptSources(aptDir: string): AptSource[] {
  const listDir = join(aptDir, 'sources.list.d');
  const extra = readdirSync(listDir, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(listDir, entry.name))
    .sort();
  return [join(aptDir, 'sources.list'), ...extra].flatMap((path) => {
    if (path.endsWith('.sources')) return parseDeb822Sources(readIfThere(path));
    return path.endsWith('.list') ? parseOneLineSources(readIfThere(path)) : [];
  });
}

/** Cloud images name a file that lists mirrors (apt-transport-mirror(1)): its first entry. */
function resolveMirrorFile(uri: string): string {
  if (!uri.startsWith('mirror+file:')) return uri;
  const path = uri.replace(/^mirror\+file:(\/\/)?/, '');
  const first = readIfThere(path)
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim().split(/\s+/)[0])
    .find((word) => word !== undefined && word !== '');
  if (first === undefined) {
    throw new MirrorError(`apt's mirror list ${path} names no mirror. Put one into it.`);
  }
  return first;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return '';
    throw new MirrorError(`Cannot read ${path}.`, { cause });
  }
}
