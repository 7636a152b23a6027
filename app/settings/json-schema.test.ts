import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { jsonSchemas } from './json-schema.ts';
import { Settings } from './settings.ts';
import { VARIABLES } from './variables.ts';

const root = join(import.meta.dirname, '../..');
const ajv = new Ajv({ strict: false, useDefaults: true });
formats.default(ajv);
const published = Object.entries(jsonSchemas());
const accepts = ajv.compile(JSON.parse(jsonSchemas()['architect.schema.json'] ?? ''));
const GITHUB = 'github: { appId: 1, privateKeyFile: /k, webhookSecretFile: /s }';

test.each(published)('%s is this code’s; npm run schema writes it', (name, text) => {
  expect(readFileSync(join(root, name), 'utf8')).toBe(text);
});

test.each([
  [GITHUB, true],
  [`${GITHUB}\nlocal: { hosts: 3 }\npolicy: { classes: { big: { cpu: 8, ram: 64 } } }`, true],
  [`${GITHUB}\nlisten: here`, false],
  [`${GITHUB}\nlistn: 127.0.0.1:1`, false],
  [`${GITHUB}\nlocal: { hosts: '3' }`, false],
  ['listen: 127.0.0.1:1', false],
])('it judges %j as the control plane does', (text, good) => {
  expect(accepts(parse(text))).toBe(good);
  expect(Settings.safeParse(parse(text)).success).toBe(good);
});

test('each variable sets a setting that there is', () => {
  const all = VARIABLES.map(({ path }) => path);
  const unknown = all.filter((path) => {
    const value = path.reduceRight<unknown>((below, step) => ({ [step]: below }), '?');
    const issues = Settings.safeParse(value).error?.issues ?? [];
    return issues.some(({ code }) => code === 'unrecognized_keys');
  });
  expect(unknown).toEqual([]);
});

test('the README’s own file is usable, and its table names every variable', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text ?? '');
  const example = parse(blocks.find((text) => text.includes('privateKeyFile')) ?? '');
  expect(Settings.safeParse(example).error).toBeUndefined();
  expect(VARIABLES.filter(({ name }) => !readme.includes(`\`${name}\``))).toEqual([]);
  expect(VARIABLES.filter(({ path }) => !readme.includes(`\`${path.join('.')}\``))).toEqual([]);
});
