import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { answerHealth } from './health.ts';
import { describeApi } from './openapi.ts';
import { ROUTES } from './routes.ts';

const Document = z.object({
  openapi: z.literal('3.1.0'),
  paths: z.record(
    z.string().startsWith('/api/v1/'),
    z.record(
      z.string(),
      z.object({
        operationId: z.string(),
        parameters: z.array(
          z.object({ name: z.string(), required: z.boolean(), schema: z.looseObject({}) }),
        ),
        responses: z.record(
          z.string(),
          z.object({ content: z.record(z.string(), z.object({ schema: z.looseObject({}) })) }),
        ),
      }),
    ),
  ),
});

test('the document describes every route, with schemas that compile', () => {
  const document = Document.parse(describeApi('1'));
  const text = JSON.stringify(document);
  for (const route of ROUTES) {
    expect(document.paths[`/api/v1${route.path}`]).toHaveProperty(route.method.toLowerCase());
    expect(text).toContain(`"operationId":"${route.operationId}"`);
    const compile = () =>
      new Ajv2020({ strict: false, validateFormats: false }).compile(z.toJSONSchema(route.answer));
    expect(compile).not.toThrow();
  }
});

test('every parameter in a path is declared and required', () => {
  for (const route of ROUTES) {
    const named = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(Object.keys(route.params.shape)).toEqual(named);
  }
});

test('operation ids are unique', () => {
  expect(new Set(ROUTES.map((route) => route.operationId)).size).toBe(ROUTES.length);
});

test('readiness is the worst of its checks, and a check that throws is not ready', async () => {
  const good = { name: 'redis', ready: true, detail: 'answers' };
  const bad = { name: 'lease', ready: false, detail: 'nobody holds it' };
  const ask = (checks: readonly (typeof good)[]) =>
    answerHealth('/readyz', { check: () => Promise.resolve(checks) });
  expect(await ask([good])).toMatchObject({ status: 200, body: { ready: true } });
  expect(await ask([good, bad])).toEqual({
    status: 503,
    body: { ready: false, checks: [good, bad] },
  });
  const broken = { check: () => Promise.reject(new Error('Redis is gone')) };
  expect(await answerHealth('/readyz', broken)).toMatchObject({
    status: 503,
    body: { checks: [{ detail: 'Redis is gone' }] },
  });
  expect(await answerHealth('/healthz', broken)).toMatchObject({ status: 200 });
  expect(await answerHealth('/other', broken)).toBeUndefined();
});
