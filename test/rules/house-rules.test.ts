/** The rules of CONTRIBUTING.md that no linter holds. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const MAX_FILE_LINES = 400;
const PURE_FOLDERS = [
  'app/planner/',
  'app/pools/',
  'app/labels/grammar',
  'app/labels/classify-job',
  'app/authority/arbiter',
  'app/authority/decide',
  'app/authority/rewind',
  'host-agent/authority/source-token',
  'host-agent/authority/target-token',
  'host-agent/authority/recover-token',
  'host-agent/authority/run-lease',
];
const FOLDERS = ['.ci', '.github', 'app', 'bpf', 'host-agent', 'runner-image', 'test'];

const tracked = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((path) => path !== '');
const sources = tracked.filter((path) => /\.(ts|js|c|h|sh)$/.test(path));

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function importsOf(path: string): readonly string[] {
  return [...read(path).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(
    (match) => match[1] ?? '',
  );
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
}

/** An import as a path from the root, or the package's name. */
function resolveImport(path: string, specifier: string): string {
  return specifier.startsWith('.') ? join(path, '..', specifier) : specifier;
}

describe('house rules', () => {
  it('has exactly the folders of the design', () => {
    const folders = new Set(
      tracked.filter((p) => p.includes('/')).map((p) => p.split('/')[0] ?? ''),
    );
    expect([...folders].filter((folder) => !FOLDERS.includes(folder))).toEqual([]);
  });

  it('keeps files short', () => {
    const long = sources.filter((path) => read(path).split('\n').length > MAX_FILE_LINES + 1);
    expect(long).toEqual([]);
  });

  it('names files in kebab-case and for a concept', () => {
    const odd = sources.filter((path) => !/^[a-z0-9.-]+$/.test(path.split('/').at(-1) ?? ''));
    const vague = tracked.filter((path) =>
      /(^|\/)(utils?|helpers?|commons?|managers?)(\/|\.)/.test(path),
    );
    expect([...odd, ...vague]).toEqual([]);
  });

  it('lets app import only the protocol of host-agent, and host-agent nothing of app', () => {
    const wrong = sources.flatMap((path) =>
      importsOf(path)
        .map((specifier) => resolveImport(path, specifier))
        .filter(
          (target) =>
            (path.startsWith('app/') &&
              target.startsWith('host-agent/') &&
              !target.startsWith('host-agent/protocol/')) ||
            (path.startsWith('host-agent/') && target.startsWith('app/')),
        )
        .map((target) => `${path} → ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('keeps the planners pure', () => {
    const impure =
      /\bDate\.now\(|new Date\(\)|Math\.random|randomUUID|\bawait\b|\bprocess\.|node:fs|logger/;
    const pure = sources.filter(
      (path) =>
        PURE_FOLDERS.some((prefix) => path.startsWith(prefix)) && !path.endsWith('.test.ts'),
    );
    expect(pure.length).toBeGreaterThan(0);
    expect(pure.filter((path) => impure.test(withoutComments(read(path))))).toEqual([]);
  });

  it('silences the compiler nowhere', () => {
    const silenced = sources.filter(
      (path) =>
        path !== 'test/rules/house-rules.test.ts' &&
        /@ts-(ignore|expect-error|nocheck)|\bas any\b|as unknown as/.test(read(path)),
    );
    expect(silenced).toEqual([]);
  });
});
