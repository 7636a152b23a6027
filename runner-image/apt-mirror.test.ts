import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  chooseDebianMirror,
  parseDeb822Sources,
  parseOneLineSources,
  readDebianMirror,
} from './apt-mirror.ts';

const MAIN = { uri: 'http://mirror.example/debian', suite: 'bookworm', components: ['main'] };

describe('parseOneLineSources', () => {
  it.each([
    ['deb http://mirror.example/debian bookworm main', [MAIN]],
    ['deb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian bookworm main # x', [MAIN]],
    [
      '  deb\thttp://mirror.example/debian   bookworm  main contrib',
      [{ ...MAIN, components: ['main', 'contrib'] }],
    ],
    ['# deb http://mirror.example/debian bookworm main', []],
    ['deb-src http://mirror.example/debian bookworm main', []],
    ['', []],
  ])('%j', (text, wanted) => {
    expect(parseOneLineSources(text)).toEqual(wanted);
  });
});

describe('parseDeb822Sources', () => {
  it('gives one source per URI and suite, over several stanzas', () => {
    const text = [
      'Types: deb deb-src',
      '# where from',
      'URIs: http://mirror.example/debian',
      'Suites: bookworm bookworm-updates',
      'Components: main',
      '',
      'Types: deb',
      'URIs: http://mirror.example/security',
      'Suites: bookworm-security',
      'Components: main',
    ].join('\n');
    expect(parseDeb822Sources(text)).toEqual([
      MAIN,
      { ...MAIN, suite: 'bookworm-updates' },
      { uri: 'http://mirror.example/security', suite: 'bookworm-security', components: ['main'] },
    ]);
  });

  it('joins continued lines and takes field names in any case', () => {
    const text =
      'types: deb\nuris:\n http://mirror.example/debian\nsuites: bookworm\ncomponents: main\n';
    expect(parseDeb822Sources(text)).toEqual([MAIN]);
  });

  it.each(['Enabled: no', 'Enabled: false'])('leaves out a stanza with %s', (line) => {
    const text = `Types: deb\n${line}\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main`;
    expect(parseDeb822Sources(text)).toEqual([]);
  });

  it('leaves out a stanza with sources only', () => {
    const text =
      'Types: deb-src\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main';
    expect(parseDeb822Sources(text)).toEqual([]);
  });
});

describe('chooseDebianMirror', () => {
  it('takes archive and security from their own sources', () => {
    const security = { ...MAIN, uri: 'http://sec.example/', suite: 'bookworm-security' };
    expect(chooseDebianMirror([security, MAIN], 'bookworm')).toEqual({
      archive: MAIN.uri,
      security: security.uri,
    });
  });

  it('has no answer for another release, a disc, or a source without main', () => {
    expect(chooseDebianMirror([MAIN], 'trixie')).toBeUndefined();
    expect(chooseDebianMirror([{ ...MAIN, uri: 'cdrom:[Debian]/' }], 'bookworm')).toBeUndefined();
    expect(chooseDebianMirror([{ ...MAIN, components: ['tool'] }], 'bookworm')).toBeUndefined();
  });
});

describe('readDebianMirror', () => {
  function aptDir(files: Readonly<Record<string, string>>): string {
    const dir = mkdtempSync(join(tmpdir(), 'apt-mirror-'));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    mkdirSync(join(dir, 'sources.list.d'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    return dir;
  }

  it('reads both formats and no other file', () => {
    const dir = aptDir({
      'sources.list.d/a.list.disabled': 'deb http://wrong.example/debian bookworm main\n',
      'sources.list.d/b.list': 'deb http://mirror.example/debian bookworm main\n',
      'sources.list.d/c.sources':
        'Types: deb\nURIs: http://sec.example/\nSuites: bookworm-security\nComponents: main\n',
    });
    expect(readDebianMirror('bookworm', dir)).toEqual({
      archive: 'http://mirror.example/debian',
      security: 'http://sec.example/',
    });
  });

  it('follows a mirror list, as cloud images have one', () => {
    const dir = aptDir({ 'mirrors.txt': '# ours\nhttps://near.example/debian priority:1\n' });
    writeFileSync(
      join(dir, 'sources.list'),
      `deb mirror+file:${join(dir, 'mirrors.txt')} bookworm main\n`,
    );
    expect(readDebianMirror('bookworm', dir)?.archive).toBe('https://near.example/debian');
  });
});
