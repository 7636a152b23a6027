/**
 * GitHub's own descriptions as validators: the REST API's (OpenAPI) and the webhooks' (JSON Schema).
 * The files are large: each is read once, and only the schemas in use are compiled.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import formats from 'ajv-formats';
import { z } from 'zod';

const require = createRequire(import.meta.url);

const Schema = z.record(z.string(), z.unknown());
const Content = z.object({ 'application/json': z.object({ schema: Schema }) });
const Operation = z.object({
  responses: z.record(z.string(), z.object({ content: Content.optional() })),
});
const OpenApi = z.object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) });
const Webhooks = z.object({ definitions: z.record(z.string(), Schema) });

function createAjv(): Ajv {
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: true });
  formats.default(ajv);
  return ajv;
}

const ajv = createAjv();
const descriptions = new Map<string, z.infer<typeof OpenApi>>();
const compiled = new Map<string, ValidateFunction>();

/** Enterprises are described in their own file. */
const DESCRIPTIONS = ['api.github.com', 'ghec'] as const;

/** An answer's body: throws unless the operation may answer so. Says which fields are wrong. */
export function checkAnswer(
  { method, path, status }: { method: string; path: string; status: number },
  body: unknown,
): void {
  const name = `${method} ${path} ${status}`;
  const validate = compiled.get(name) ?? compileAnswer(name, { method, path, status });
  compiled.set(name, validate);
  if (!validate(body)) throw new Error(`${name}: ${describe(validate.errors)}`);
}

/** A webhook's body, for example as `workflow_job$queued`. */
export function checkEvent(name: string, body: unknown): void {
  const validate = compiled.get(name) ?? compileEvent(name);
  compiled.set(name, validate);
  if (!validate(body)) throw new Error(`${name}: ${describe(validate.errors)}`);
}

function compileAnswer(
  name: string,
  { method, path, status }: { method: string; path: string; status: number },
): ValidateFunction {
  const [usual, ofEnterprises] = DESCRIPTIONS;
  const { paths } = readDescription(path.startsWith('/enterprises/') ? ofEnterprises : usual);
  const operation = paths[path]?.[method.toLowerCase()];
  if (operation === undefined) throw new Error(`GitHub has no ${method} ${path}`);
  const answer = Operation.parse(operation).responses[String(status)];
  if (answer === undefined) throw new Error(`GitHub does not answer so: ${name}`);
  const schema = answer.content?.['application/json'].schema;
  return ajv.compile(schema === undefined ? { const: '' } : asJsonSchema(schema));
}

function readDescription(name: (typeof DESCRIPTIONS)[number]): z.infer<typeof OpenApi> {
  const known = descriptions.get(name);
  if (known !== undefined) return known;
  const file = require.resolve(`@octokit/openapi/generated/${name}.deref.json`);
  const description = OpenApi.parse(readJson(file));
  descriptions.set(name, description);
  return description;
}

function compileEvent(name: string): ValidateFunction {
  const events = Webhooks.parse(readJson(require.resolve('@octokit/webhooks-schemas/schema.json')));
  const { definitions } = events;
  for (const definition of Object.values(definitions)) delete definition.$schema;
  return createAjv().compile({ definitions, $ref: `#/definitions/${name}` });
}

/** OpenAPI 3.0 says `nullable: true` where JSON Schema has the type null, also beside enum and allOf. */
function asJsonSchema(value: unknown): z.infer<typeof Schema> {
  return Schema.parse(translate(value));
}

function translate(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(translate);
  const parsed = Schema.safeParse(value);
  if (!parsed.success) return value;
  const { nullable, example: _example, examples: _examples, allOf, ...rest } = parsed.data;
  if (allOf !== undefined) rest[isMistaken(allOf) ? 'anyOf' : 'allOf'] = allOf;
  const schema = Object.fromEntries(Object.entries(rest).map(([key, v]) => [key, translate(v)]));
  return nullable === true ? { anyOf: [schema, { type: 'null' }] } : schema;
}

const Titled = z.array(z.looseObject({ title: z.string().optional() }));

/** One place of the description wants an account to be a user and an enterprise at once. */
function isMistaken(allOf: unknown): boolean {
  const titles = Titled.parse(allOf).map(({ title }) => title);
  return titles.includes('Simple User') && titles.includes('Enterprise');
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function describe(errors: readonly ErrorObject[] | null | undefined): string {
  return (errors ?? []).map((error) => `${error.instancePath} ${error.message}`).join('; ');
}
