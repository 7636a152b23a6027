/**
 * Stands before an S3 endpoint: stricter than it (refuses requests that are unsigned, or whose body is
 * not what Content-MD5 says), and faulty on demand. `decide` sees each request, and the number of those
 * like it before, and says what happens to it:
 *
 *   pass      as it is
 *   status    answered so, not passed on; the body repeats the request's headers, as careless servers do
 *   hang      never answered
 *   lost      passed on, its answer thrown away
 *   truncate  the answer's body ends early and the connection breaks
 *   corrupt   one byte of the answer's body is another
 *   drip      the answer's body comes so slowly that no time-out would wait for it
 *   deaf      passed on without its conditions
 */
import { createHash } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
  request as sendRequest,
} from 'node:http';

export type Fault =
  | { readonly kind: 'pass' | 'hang' | 'lost' | 'truncate' | 'corrupt' | 'drip' | 'deaf' }
  | { readonly kind: 'status'; readonly status: number };

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  /** Requests of the same method and path before this one. */
  readonly earlier: number;
}

export interface FaultProxy {
  readonly url: string;
  /** Every request, oldest first. */
  readonly seen: readonly SeenRequest[];
  decide: (request: SeenRequest) => Fault;
  stop(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export async function startFaultProxy(upstream: string, host = '127.0.0.1'): Promise<FaultProxy> {
  const seen: SeenRequest[] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const { method = '', url = '/' } = request;
    const path = new URL(url, upstream).pathname;
    const earlier = seen.filter((one) => one.method === method && one.path === path).length;
    const noted = { method, path, earlier };
    seen.push(noted);
    const body = await readAll(request);
    const why = complain(request, body);
    const fault: Fault = why === undefined ? proxy.decide(noted) : { kind: 'status', status: 400 };
    await answer({ request, response, body, fault, upstream });
  };
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the proxy has no port');
  const proxy: FaultProxy = {
    url: `http://${host}:${address.port}`,
    seen,
    decide: () => ({ kind: 'pass' }),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html */
function complain(request: IncomingMessage, body: Buffer): string | undefined {
  if (!request.headers.authorization?.startsWith('AWS4-HMAC-SHA256 ')) return 'unsigned';
  const claimed = request.headers['content-md5'];
  const actual = createHash('md5').update(body).digest('base64');
  if (claimed !== undefined && claimed !== actual) return 'another body';
  if (request.method === 'PUT' && claimed === undefined) return 'an unprotected body';
  return undefined;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: Buffer;
  readonly fault: Fault;
  readonly upstream: string;
}

async function answer(exchange: Exchange): Promise<void> {
  const { request, response, fault } = exchange;
  if (fault.kind === 'hang') return;
  if (fault.kind === 'status') {
    response.writeHead(fault.status, { 'content-type': 'application/xml' });
    response.end(errorBody(request));
    return;
  }
  const got = await passOn(exchange);
  if (fault.kind === 'lost') {
    response.destroy();
    return;
  }
  response.writeHead(got.status, got.headers);
  if (fault.kind === 'truncate') {
    response.write(got.body.subarray(0, got.body.length / 2), () => response.destroy());
  } else if (fault.kind === 'drip') response.write(got.body.subarray(0, 1));
  else response.end(fault.kind === 'corrupt' ? corrupted(got.body) : got.body);
}

function passOn({ request, body, fault, upstream }: Exchange): Promise<Answer> {
  const headers = { ...request.headers };
  if (fault.kind === 'deaf') {
    delete headers['if-match'];
    delete headers['if-none-match'];
  }
  const options = { method: request.method ?? 'GET', headers };
  return new Promise((resolve, reject) => {
    const sent = sendRequest(new URL(request.url ?? '/', upstream), options, (incoming) => {
      readAll(incoming).then(
        (all) =>
          resolve({ status: incoming.statusCode ?? 500, headers: incoming.headers, body: all }),
        reject,
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

async function readAll(stream: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

function corrupted(body: Buffer): Buffer {
  const copy = Buffer.from(body);
  if (copy.length > 0) copy.writeUInt8(copy.readUInt8(copy.length >> 1) ^ 1, copy.length >> 1);
  return copy;
}

function errorBody(request: IncomingMessage): string {
  const told = JSON.stringify(request.headers).replaceAll(/[<>&]/g, ' ');
  return `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>${told}</Message></Error>`;
}
