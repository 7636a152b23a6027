/** Odd files: none crashes the reader, and none is taken that the published schema refuses. */
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { jsonSchemas } from './json-schema.ts';
import { parseYaml } from './parse-yaml.ts';
import { Settings } from './settings.ts';
import { VARIABLES } from './variables.ts';

const ajv = new Ajv({ strict: false });
formats.default(ajv);
/** The oracle: another's validator, on the published schema. */
const accepts = ajv.compile(JSON.parse(jsonSchemas()['architect.schema.json'] ?? ''));

const SOUND = {
  github: { appId: 1, privateKeyFile: '/k', webhookSecretFile: '/s' },
  listen: '127.0.0.1:3000',
  provider: 'static',
  agents: { url: 'https://a.example:3443' },
  local: { hosts: 3, hostSize: '2cpu-4gb' },
  policy: { classes: { big: { cpu: 8, ram: 32 } }, limits: { cpu: 4 } },
};
const paths = VARIABLES.map(({ path }) => path);
const somewhere = fc.oneof(
  fc.constantFrom(...paths),
  fc.tuple(fc.constantFrom('policy', 'github', 'x', 'local'), fc.string({ maxLength: 6 })),
);
const odd = fc.oneof(
  fc.constantFrom(null, true, '', 0, -1, 1.5, 1e9, 'text', '/a', 'a:1', 'https://h', [], {}, [1]),
  fc.jsonValue({ maxDepth: 2 }),
);

function withValue(path: readonly string[], value: unknown): unknown {
  const copy: Record<string, unknown> = structuredClone(SOUND);
  const [first = '', second] = path;
  const inner = copy[first];
  if (second === undefined) copy[first] = value;
  else copy[first] = { ...(typeof inner === 'object' ? inner : {}), [second]: value };
  return copy;
}

test('what the schema refuses is refused, and what it takes is taken', () => {
  fc.assert(
    fc.property(somewhere, odd, (path, value) => {
      const settings = withValue(path, value);
      const taken = Settings.safeParse(settings).success;
      // JSON schema's "uri" is any URL: which protocols will do, only the control plane says.
      if (taken || !/url$|endpoint/i.test(path.at(-1) ?? ''))
        expect({ settings, taken }).toEqual({ settings, taken: accepts(settings) });
    }),
    { numRuns: 5_000 },
  );
});

test('a mangled file is told with a place that is in it', () => {
  const mangled = fc.tuple(somewhere, odd, fc.nat(400), fc.nat(20), fc.string({ maxLength: 4 }));
  fc.assert(
    fc.property(mangled, ([path, value, at, length, instead]) => {
      const whole = stringify(withValue(path, value));
      const text = whole.slice(0, at) + instead + whole.slice(at + length);
      const read = parseYaml(Settings, text);
      if (read.kind === 'parsed') return;
      const lines = text.split(/\r\n|[\r\n]/);
      expect(read.problems.length).toBeGreaterThan(0);
      for (const { place } of read.problems) {
        expect(place.line).toBeLessThanOrEqual(lines.length);
        expect(place.column).toBeLessThanOrEqual((lines[place.line - 1] ?? '').length + 1);
      }
    }),
    { numRuns: 500 },
  );
});
