/** Where the App's webhooks go, as the App itself may read and change it. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { requireApp } from './caller.ts';
import type { Simulation } from './simulation.ts';

const Change = z.object({
  url: z.url().optional(),
  secret: z.string().min(1).optional(),
  content_type: z.literal('json').optional(),
  insecure_ssl: z.literal('0').optional(),
});

export function serveHookConfig(server: FastifyInstance, simulation: Simulation): void {
  const { webhooks } = simulation;
  const shown = () => ({
    content_type: 'json',
    insecure_ssl: '0',
    secret: '********',
    ...(webhooks.url === undefined ? {} : { url: webhooks.url }),
  });
  server.get('/app/hook/config', async (request) => {
    requireApp(simulation, request);
    return shown();
  });
  server.patch('/app/hook/config', async (request) => {
    const app = requireApp(simulation, request);
    const { url, secret } = Change.parse(request.body);
    if (url !== undefined) webhooks.url = url;
    if (secret !== undefined) app.webhookSecret = secret;
    return shown();
  });
}
