/** The OpenAPI 3.1 document, made from the route table. */
import { z } from 'zod';
import type { Route } from './route.ts';
import { API_PREFIX, ROUTES } from './routes.ts';
import { Problem } from './views.ts';

/** A complete document; the same routes always give the same document. */
export function describeApi(version: string): Readonly<Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of ROUTES) {
    const path = API_PREFIX + route.path;
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: describeRoute(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Architect', version, summary: 'Fleet of GitHub Actions runners.' },
    paths,
    security: [{ token: [] }],
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
  };
}

function describeRoute(route: Route): Readonly<Record<string, unknown>> {
  return {
    operationId: route.operationId,
    summary: route.summary,
    parameters: [
      ...describeParameters(route.params, 'path'),
      ...describeParameters(route.query, 'query'),
    ],
    ...(route.method === 'POST'
      ? { requestBody: { content: jsonContent(route.body, 'input'), required: false } }
      : {}),
    responses: {
      [route.status]: { description: 'Done.', content: jsonContent(route.answer, 'output') },
      default: {
        description: 'What went wrong (RFC 9457).',
        content: { 'application/problem+json': { schema: schemaOf(Problem, 'output') } },
      },
    },
  };
}

function describeParameters(schema: z.ZodObject, place: 'path' | 'query'): readonly unknown[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' });
  return Object.entries(properties).map(([name, parameter]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: parameter,
  }));
}

function jsonContent(schema: z.ZodType, io: 'input' | 'output'): Readonly<Record<string, unknown>> {
  return { 'application/json': { schema: schemaOf(schema, io) } };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Readonly<Record<string, unknown>> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}
