/**
 * GitHub's front door: the Probot apps behind POST /api/github/webhooks.
 *
 *     body (bounded) ── signature over the raw body ── parse ── enqueue ── 200
 *          413, 408            400 as Probot answers      400       503
 *
 * Invariants:
 * - The handler adds one job to the queue and does nothing else: no record, no API call.
 * - Every request is answered within 10 s, after which GitHub gives it up: a delivery that was not
 *   queued gets an error, so that GitHub records it as failed and it can be sent again.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { createNodeMiddleware, Probot, ProbotOctokit } from 'probot';
import { type AppConfig, appsOf, type Config } from '../config.ts';
import { readBody } from './body.ts';
import { type IncomingDelivery, parseDelivery } from './delivery.ts';
import type { IntakeQueue } from './queue.ts';

export const WEBHOOK_PATH = '/api/github/webhooks';
const MAX_REQUESTS_AT_ONCE = 512;
const MAX_LOGGED_ID = 100;
const BODY_ANSWERS = { 'too-large': 413, 'too-slow': 408, broken: 400 } as const;

/** True when the request was for the webhook path and has been (or is being) answered. */
export type WebhookHandler = (request: IncomingMessage, response: ServerResponse) => boolean;

export interface WebhookOptions {
  readonly github: Config['github'];
  readonly queue: Pick<IntakeQueue, 'add'>;
  readonly logger: Logger;
  readonly now?: () => number;
}

/** The Octokit webhook middleware answers with the `status` of what a handler throws. */
class DeliveryError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'DeliveryError';
    this.status = status;
  }
}

/** Probot makes a client for each event, which costs more than the rest of it, and none is used here. */
const OneClient = ProbotOctokit.plugin((octokit) => ({ auth: async () => octokit }));

/** Builds a Probot app for each App; mount the handler on the control plane's HTTP server. */
export async function createWebhookHandler(options: WebhookOptions): Promise<WebhookHandler> {
  const { queue, logger, now = Date.now } = options;
  const apps = appsOf(options.github);
  const doors = new Map<string, Middleware>();
  for (const app of apps) {
    const appId = apps.length === 1 ? undefined : app.appId;
    const door = await openDoor(app, logger, ({ id, name, payload }) =>
      enqueue({ id, name, payload, appId }),
    );
    doors.set(String(app.appId), door);
  }
  const [only] = doors.values();
  let underWay = 0;
  return (request, response) => {
    if (pathOf(request) !== WEBHOOK_PATH) return false;
    if (underWay >= MAX_REQUESTS_AT_ONCE) {
      refuse(response, 503, 'too many requests at once');
      return true;
    }
    underWay += 1;
    void handle(request, response).finally(() => {
      underWay -= 1;
    });
    return true;
  };

  async function enqueue({ id, name, payload, appId }: IncomingDelivery): Promise<void> {
    const parsed = parseDelivery({ id, name, payload, appId }, now());
    if (parsed.kind === 'ignored') return;
    if (parsed.kind === 'malformed') throw new DeliveryError(400, parsed.why);
    await queue.add(parsed.delivery).catch((err: unknown) => {
      logger.error({ err, deliveryId: id }, 'a delivery could not be queued');
      throw new DeliveryError(503, 'the queue is not available; send the delivery again');
    });
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const door = apps.length === 1 ? only : doors.get(appNamedBy(request));
    try {
      if (door === undefined) refuse(response, 400, 'it is for none of the Apps here');
      else if (request.method !== 'POST' || (await takeBody(request, response)))
        await door(request, response);
    } catch (err) {
      logger.error({ err }, 'a webhook request failed');
      if (!response.headersSent) refuse(response, 500, 'internal error');
    }
    if (response.statusCode >= 400) {
      const { statusCode } = response;
      const deliveryId = String(request.headers['x-github-delivery']).slice(0, MAX_LOGGED_ID);
      logger.warn({ statusCode, deliveryId }, 'a webhook request was refused');
    }
  }
}

type Middleware = Awaited<ReturnType<typeof createNodeMiddleware>>;

/** Takes what is signed with the App's secret. */
function openDoor(
  { appId, privateKey, webhookSecret, apiUrl }: AppConfig,
  logger: Logger,
  take: (event: IncomingDelivery) => Promise<void>,
): Promise<Middleware> {
  const quiet = logger.child({}, { level: 'silent' });
  const probot = new Probot({
    Octokit: OneClient,
    ...{ appId, privateKey, secret: webhookSecret, baseUrl: apiUrl },
    // Probot logs each refused delivery as an error, with its request: `handle` logs one line instead.
    // It also makes a logger for each event.
    log: Object.assign(quiet, { child: () => quiet }),
  });
  return createNodeMiddleware((app) => app.onAny(take), { probot, webhooksPath: WEBHOOK_PATH });
}

/** By GitHub's word in a header that nothing signs: it only chooses the secret to check with. */
function appNamedBy({ headers }: IncomingMessage): string {
  return String(headers['x-github-hook-installation-target-id']);
}

/** Hands the raw body to Octokit's middleware, which takes a string in `request.body`. */
async function takeBody(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  const body = await readBody(request);
  if (body.kind !== 'body') {
    refuse(response, BODY_ANSWERS[body.kind], `the body is ${body.kind}`);
    return false;
  }
  // Octokit's middleware takes other JSON apart as if it were an event.
  if (!body.text.trimStart().startsWith('{')) {
    refuse(response, 400, 'the body is no JSON object');
    return false;
  }
  Object.assign(request, { body: body.text });
  return true;
}

function pathOf(request: IncomingMessage): string {
  const [path = ''] = (request.url ?? '').split('?');
  return path.replace(/\/+$/, '');
}

function refuse(response: ServerResponse, status: number, error: string): void {
  // What of the body was not read must not be taken for the next request.
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify({ error }));
}
