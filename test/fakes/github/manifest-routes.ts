/**
 * Registering an App from a manifest: the page that the browser's form is posted to, and the
 * exchange of the code that it gives for the App's secrets.
 * Source: docs.github.com, "Registering a GitHub App from a manifest".
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { RegisteredApp } from './model.ts';
import { appPayload } from './payload-account.ts';
import { notFound, unprocessable } from './refusal.ts';
import type { Simulation } from './simulation.ts';

const MAX_NAME = 34;
const CODE_BYTES = 20;

const Manifest = z.strictObject({
  name: z.string().min(1).max(MAX_NAME),
  url: z.url(),
  hook_attributes: z.strictObject({ url: z.url(), active: z.boolean().default(true) }),
  redirect_url: z.url(),
  description: z.string().max(500).optional(),
  public: z.boolean().default(false),
  default_events: z.array(z.string()).default([]),
  default_permissions: z.record(z.string(), z.enum(['read', 'write'])),
});
const Form = z.strictObject({ manifest: z.string() });
const Query = z.object({ state: z.string().max(500).optional() });
const Organization = z.object({ org: z.string() });

/** Codes that were given out, each good for one exchange. */
export type Codes = Map<string, z.output<typeof Manifest>>;

/** The page on GitHub: whoever posts to it is taken for the owner, who clicks the one button. */
export function serveRegistration(
  server: FastifyInstance,
  simulation: Simulation,
  codes: Codes,
): void {
  server.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  );
  const register = (body: unknown, query: unknown): string => {
    const manifest = Manifest.parse(JSON.parse(Form.parse(body).manifest));
    if (manifest.name === simulation.world.app.name)
      throw unprocessable('Name is already taken', ['name']);
    const code = randomBytes(CODE_BYTES).toString('hex');
    codes.set(code, manifest);
    const to = new URL(manifest.redirect_url);
    to.searchParams.set('code', code);
    const { state } = Query.parse(query);
    if (state !== undefined) to.searchParams.set('state', state);
    return to.href;
  };
  server.post('/settings/apps/new', async (request, reply) =>
    reply.redirect(register(request.body, request.query), 302),
  );
  server.post('/organizations/:org/settings/apps/new', async (request, reply) => {
    simulation.world.account(Organization.parse(request.params).org);
    return reply.redirect(register(request.body, request.query), 302);
  });
}

export function serveConversions(
  server: FastifyInstance,
  simulation: Simulation,
  codes: Codes,
): void {
  const { world, webhooks } = simulation;
  server.post('/app-manifests/:code/conversions', async (request, reply) => {
    const { code } = z.object({ code: z.string() }).parse(request.params);
    const manifest = codes.get(code);
    if (manifest === undefined) throw notFound();
    codes.delete(code);
    const { app, privateKey } = createApp(world.nextId(), manifest);
    world.app = app;
    world.installations.clear();
    webhooks.url = manifest.hook_attributes.url;
    const { name, slug } = app;
    const secrets = { pem: privateKey, webhook_secret: app.webhookSecret };
    const oauth = {
      client_id: `Iv1.${slug}`,
      client_secret: randomBytes(CODE_BYTES).toString('hex'),
    };
    return reply.code(201).send({ ...appPayload(world), name, ...oauth, ...secrets });
  });
}

function createApp(id: number, manifest: z.output<typeof Manifest>) {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const app: RegisteredApp = {
    id,
    slug: manifest.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-'),
    name: manifest.name,
    publicKey,
    permissions: manifest.default_permissions,
    webhookSecret: randomBytes(CODE_BYTES).toString('hex'),
  };
  return { app, privateKey };
}
