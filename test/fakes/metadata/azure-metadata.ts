/**
 * Azure's instance metadata and Scheduled Events, as Microsoft's documentation describes them: 400
 * without `Metadata: true`, without an `api-version` or with a forwarding header; the document's
 * incarnation grows with each change; the first question for events may be slow to answer.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { portOf } from './listening.ts';

export interface AzureEvent {
  readonly EventId: string;
  readonly EventType: 'Freeze' | 'Reboot' | 'Redeploy' | 'Preempt' | 'Terminate';
  readonly EventStatus: 'Scheduled' | 'Started';
  readonly Resources: readonly string[];
  /** RFC 1123; empty once it has started. */
  readonly NotBefore: string;
}

export interface AzureMetadata extends AsyncDisposable {
  readonly url: string;
  readonly vmName: string;
  setEvents(events: readonly AzureEvent[]): void;
}

export async function startAzureMetadata(options: {
  readonly firstAnswerMs: number;
}): Promise<AzureMetadata> {
  const vmName = 'host_0';
  const document = { DocumentIncarnation: 1, Events: [] as readonly AzureEvent[] };
  let firstMs = options.firstAnswerMs;
  const server = createServer((request, response) => {
    request.resume();
    const answer = answerOf(request, vmName, document);
    const waitMs = answer.isEvents ? firstMs : 0;
    if (answer.isEvents) firstMs = 0;
    setTimeout(() => send(response, answer), waitMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    vmName,
    setEvents: (events) => {
      document.DocumentIncarnation += 1;
      document.Events = events;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly isEvents: boolean;
}

function answerOf(request: IncomingMessage, vmName: string, document: object): Answer {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://metadata');
  const isAllowed =
    request.headers.metadata?.toString().toLowerCase() === 'true' &&
    request.headers['x-forwarded-for'] === undefined &&
    /^\d{4}-\d{2}-\d{2}$/.test(searchParams.get('api-version') ?? '');
  if (!isAllowed) return { status: 400, body: { error: 'Bad request' }, isEvents: false };
  const compute = { azEnvironment: 'AzurePublicCloud', name: vmName };
  switch (pathname) {
    case '/metadata/instance':
      return { status: 200, body: { compute }, isEvents: false };
    case '/metadata/instance/compute/name':
      return { status: 200, body: vmName, isEvents: false };
    case '/metadata/scheduledevents':
      return { status: 200, body: document, isEvents: true };
    default:
      return { status: 404, body: { error: 'Not found' }, isEvents: false };
  }
}

function send(response: ServerResponse, { status, body }: Answer): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json' }).end(text);
}
