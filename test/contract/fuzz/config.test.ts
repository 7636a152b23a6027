/** The environment with anything in it, judged by the README's table of variables. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Config, readConfig } from '../../../app/config.ts';
import { ArchitectError } from '../../../host-agent/protocol/errors.ts';
import { judge } from './cases.ts';

const ENVIRONMENTS = 12_000;
const folder = mkdtempSync(join(tmpdir(), 'architect-fuzz-'));
const file = join(folder, 'secret');

beforeAll(() => writeFileSync(file, 'a secret', { mode: 0o600 }));
afterAll(() => rmSync(folder, { recursive: true }));

interface Rule {
  readonly isGood: (text: string) => boolean;
  /** What stands in the configuration where the text is good. */
  readonly read?: (config: Config) => unknown;
}

const between = (min: number, max: number) => (text: string) =>
  /^[0-9]+$/.test(text) && Number(text) >= min && Number(text) <= max;
const oneOf =
  (...words: readonly string[]) =>
  (text: string) =>
    words.includes(text);

const RULES: Readonly<Record<string, Rule>> = {
  ARCHITECT_FLEET: {
    isGood: (text) =>
      text.length >= 1 &&
      text.length <= 12 &&
      [...text].every((one) => 'abcdefghijklmnopqrstuvwxyz0123456789'.includes(one)),
    read: ({ fleet }) => fleet,
  },
  ARCHITECT_LISTEN: {
    isGood: (text) => {
      const [host = '', port = '', ...rest] = text.split(':');
      const isHost = host !== '' && !/\s/.test(host);
      return rest.length === 0 && isHost && port.length <= 5 && between(0, 65_535)(port);
    },
    read: ({ listen }) => `${listen.host}:${listen.port}`,
  },
  ARCHITECT_IMAGE_PROFILE: { isGood: oneOf('small', 'full'), read: (one) => one.imageProfile },
  ARCHITECT_PROVIDER: { isGood: oneOf('local', 'static'), read: ({ provider }) => provider },
  ARCHITECT_LOCAL_HOSTS: { isGood: between(0, 50), read: ({ local }) => String(local.hosts) },
  ARCHITECT_LOCAL_UPLINK: {
    isGood: oneOf('true', 'false'),
    read: ({ local }) => String(local.uplink),
  },
  ARCHITECT_TICK_MS: { isGood: between(50, 60_000), read: ({ tickMs }) => String(tickMs) },
  ARCHITECT_POLL_SECONDS: {
    isGood: between(1, 3_600),
    read: ({ pollMs }) => String(pollMs / 1_000),
  },
  ARCHITECT_LINK_MBIT: { isGood: between(1, 1_000_000) },
  ARCHITECT_RUNNER_GROUP_ID: {
    isGood: between(1, Number.MAX_SAFE_INTEGER),
    read: ({ runnerGroupId }) => String(runnerGroupId),
  },
  ARCHITECT_RERUN_LOST: { isGood: oneOf('true', 'false') },
  ARCHITECT_LOG_LEVEL: { isGood: oneOf('debug', 'info', 'warn', 'error', 'silent') },
  GITHUB_APP_ID: {
    isGood: between(1, Number.MAX_SAFE_INTEGER),
    read: ({ github }) => String(github.appId),
  },
};

/** Numbers in one way of writing them only: none with a zero before it, none empty. */
const text = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 70_000 }).map(String) },
  fc.integer().map(String),
  fc.constantFrom('true', 'false', 'yes', 'small', 'full', 'local', 'static', 'cloud', 'info'),
  fc.constantFrom('127.0.0.1:80', 'localhost:70000', ':80', 'a b:80', 'host', '[::1]:80', 'x:1:2'),
  fc.constantFrom('Main', 'main2', 'a-b', 'abcdefghijklm', '1.5', 'NaN', 'Infinity', '12px', '٣'),
  fc.string({ minLength: 1, maxLength: 15 }).filter((one) => Number.isNaN(Number(one))),
);
const environments = fc.dictionary(fc.constantFrom(...Object.keys(RULES)), text, { maxKeys: 4 });

it('what is wrong is named, and what is good means what it says', () => {
  judge(environments, ENVIRONMENTS, (drawn) => {
    const environment = {
      ...{ GITHUB_APP_ID: '1', GITHUB_PRIVATE_KEY_FILE: file, GITHUB_WEBHOOK_SECRET_FILE: file },
      ...drawn,
    };
    const wrong = Object.entries(drawn).filter(([name, one]) => !RULES[name]?.isGood(one));
    const config = readOrRefuse(environment);
    if (typeof config === 'string') {
      expect(wrong.filter(([name]) => config.includes(name))).not.toEqual([]);
      return;
    }
    expect(wrong).toEqual([]);
    for (const [name, one] of Object.entries(drawn)) {
      const read = RULES[name]?.read;
      if (read !== undefined) expect(read(config)).toBe(one);
    }
  });
});

/** A refusal is one of ours, in words; anything else that is thrown is a crash. */
function readOrRefuse(environment: Readonly<Record<string, string>>): Config | string {
  try {
    return readConfig(environment);
  } catch (error) {
    if (error instanceof ArchitectError) return error.message;
    throw error;
  }
}
