/** Stands before a metadata service and breaks what passes through, as it is told to. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { portOf } from './listening.ts';

/**
 * `slow`: answers come after `delayMs`; `silent`: never; `error`: 503; `garbage`: 200 with bytes that
 * mean nothing; `cut`: the connection ends in the middle of the answer.
 */
export type Fault = 'none' | 'slow' | 'silent' | 'error' | 'garbage' | 'cut';

export interface FaultyProxy extends AsyncDisposable {
  readonly url: string;
  /** For the questions that come from now on. */
  fault: Fault;
  delayMs: number;
  /** How many questions have come so far. */
  readonly asked: number;
  /** How many connections were opened. */
  readonly connections: number;
}

export async function startFaultyProxy(targetUrl: string): Promise<FaultyProxy> {
  const state = { fault: 'none' as Fault, delayMs: 0, asked: 0, connections: 0 };
  const server = createServer((incoming, outgoing) => {
    state.asked += 1;
    serve({ incoming, outgoing, targetUrl, fault: state.fault, delayMs: state.delayMs });
  });
  server.on('connection', () => {
    state.connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(state, {
    url: `http://127.0.0.1:${portOf(server)}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

interface Exchange {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly targetUrl: string;
  readonly fault: Fault;
  readonly delayMs: number;
}

function serve(exchange: Exchange): void {
  const { outgoing, fault, delayMs } = exchange;
  switch (fault) {
    case 'none':
      forward(exchange);
      return;
    case 'slow':
      setTimeout(() => forward(exchange), delayMs);
      return;
    case 'silent':
      return;
    case 'error':
      outgoing.writeHead(503).end('Service Unavailable');
      return;
    case 'garbage':
      outgoing.writeHead(200, { 'content-type': 'text/html' }).end('\u0000<html>{"time":');
      return;
    case 'cut':
      outgoing.writeHead(200, { 'content-length': '1000' });
      outgoing.write('{"action":', () => outgoing.destroy());
  }
}

function forward({ incoming, outgoing, targetUrl }: Exchange): void {
  const { method, headers } = incoming;
  const call = request(new URL(incoming.url ?? '/', targetUrl), { method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(outgoing);
  });
  call.on('error', () => outgoing.destroy());
  outgoing.on('close', () => call.destroy());
  incoming.pipe(call);
}
