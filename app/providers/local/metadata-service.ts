/**
 * A simulated host's metadata service: a program of its own in the host's namespace, on
 * 169.254.169.254 port 80. A control socket in the host's folder, reachable for root only, takes
 * the notices: `PUT /notices` with `Notices` as JSON. Notices live as long as the process.
 *
 *   node metadata-service.ts, environment: ARCHITECT_METADATA as MetadataOptions in JSON
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { answerMetadata, NO_NOTICES, Notices } from './metadata-answers.ts';

const MetadataOptions = z.object({
  instance: z.object({ instanceId: z.string(), instanceType: z.string(), place: z.string() }),
  address: z.ipv4(),
  port: z.int(),
  controlSocket: z.string().startsWith('/'),
});
export type MetadataOptions = Readonly<z.infer<typeof MetadataOptions>>;

const MAX_TOKENS = 1000;
const MAX_BODY_BYTES = 10_000;
const REQUEST_TIMEOUT_MS = 10_000;

const options = MetadataOptions.parse(JSON.parse(process.env.ARCHITECT_METADATA ?? '{}'));
const expiryOfToken = new Map<string, number>();
let notices: Notices = NO_NOTICES;

serveMetadata();
serveControl();

function serveMetadata(): void {
  const server = createServer((request, response) => {
    request.resume();
    const answer = answerMetadata(describe(request), options.instance, notices);
    if (answer.kind === 'answer') {
      response.writeHead(answer.status, { 'content-type': 'text/plain' }).end(answer.body);
      return;
    }
    const token = issueToken(answer.ttlS);
    response
      .writeHead(200, { 'x-aws-ec2-metadata-token-ttl-seconds': String(answer.ttlS) })
      .end(token);
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.listen(options.port, options.address);
}

function describe(request: IncomingMessage) {
  const token = header(request, 'x-aws-ec2-metadata-token');
  return {
    method: request.method ?? 'GET',
    path: (request.url ?? '/').split('?')[0] ?? '/',
    tokenTtl: header(request, 'x-aws-ec2-metadata-token-ttl-seconds'),
    tokenValid: (expiryOfToken.get(token ?? '') ?? 0) > Date.now(),
    forwarded: header(request, 'x-forwarded-for') !== undefined,
  };
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function issueToken(ttlS: number): string {
  const oldest = expiryOfToken.keys().next().value;
  if (expiryOfToken.size >= MAX_TOKENS && oldest !== undefined) expiryOfToken.delete(oldest);
  const token = randomBytes(40).toString('base64url');
  expiryOfToken.set(token, Date.now() + ttlS * 1000);
  return token;
}

function serveControl(): void {
  rmSync(options.controlSocket, { force: true });
  const server = createServer((request, response) => {
    takeNotices(request)
      .then((parsed) => {
        notices = parsed;
        response.writeHead(204).end();
      })
      .catch(() => end(response, 400));
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.listen(options.controlSocket, () => chmodSync(options.controlSocket, 0o600));
}

async function takeNotices(request: IncomingMessage): Promise<Notices> {
  let text = '';
  for await (const piece of request) {
    text += String(piece);
    if (text.length > MAX_BODY_BYTES) break;
  }
  return Notices.parse(JSON.parse(text));
}

function end(response: ServerResponse, status: number): void {
  response.writeHead(status).end();
}
