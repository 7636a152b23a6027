/** The HTTP listener that GitHub reaches: webhooks, `/healthz` and `/readyz`, and nothing else. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ArchitectError } from '../host-agent/protocol/errors.ts';
import { answerHealth } from './api/health.ts';
import type { Readiness } from './api/ports.ts';
import type { WebhookHandler } from './intake/webhooks.ts';
import { whyNotListening } from './listen-trouble.ts';
import type { Address } from './settings/settings.ts';

const HEAD_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 15_000;
const MAX_CONNECTIONS = 2_000;

export class FrontDoorError extends ArchitectError {
  readonly code = 'FRONT_DOOR';
  readonly retry = 'later';
}

export interface FrontDoor {
  /** The one that it has, where any was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

/** Resolves when the port is open; throws FrontDoorError when it cannot be had. */
export async function openFrontDoor(options: {
  readonly listen: Address;
  readonly webhooks: WebhookHandler;
  readonly readiness: Readiness;
}): Promise<FrontDoor> {
  const { listen, webhooks, readiness } = options;
  const server = createServer(
    { headersTimeout: HEAD_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      if (!webhooks(request, response)) void answerOther(request, response, readiness);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  const port = await open(server, listen);
  return {
    port,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answerOther(
  request: IncomingMessage,
  response: ServerResponse,
  readiness: Readiness,
): Promise<void> {
  const [path = ''] = (request.url ?? '').split('?');
  const health = await answerHealth(path, readiness);
  response.writeHead(health?.status ?? 404, { 'content-type': 'application/json' });
  response.end(JSON.stringify(health?.body ?? { error: 'There is nothing here.' }));
}

function open(server: Server, { host, port }: Address): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once('error', (cause) => {
    const what = `Cannot listen on ${host}:${port} for webhooks: ${whyNotListening(cause)}. Free it, or change listen.`;
    reject(new FrontDoorError(what, { cause }));
  });
  server.listen({ host, port }, () => {
    const address = server.address();
    resolve(typeof address === 'object' && address !== null ? address.port : port);
  });
  return promise;
}
