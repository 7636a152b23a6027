/**
 * A gateway's connection to the control plane: dials until the signal, with back-off. The newest
 * picture is served; one that comes meanwhile is served after it.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { WebSocket } from 'ws';
import { backOffMs } from '../control/back-off.ts';
import { keepAlive } from '../control/heartbeat.ts';
import type { Identity } from '../control/identity.ts';
import { tlsOf } from '../control/tls.ts';
import {
  type AskTraffic,
  ControlFrame,
  type GatewayFrame,
  type GatewayHello,
  type Serve,
} from '../protocol/gateway-messages.ts';
import { MAX_FRAME_BYTES, REPORT_INTERVAL_MS } from '../protocol/messages.ts';
import type { GatewayDesk } from './gateway-desk.ts';
import type { Station } from './station.ts';

const HANDSHAKE_LIMIT_MS = 10_000;
const MALFORMED = 1002;
const FAILED = 1011;

export interface GatewayLinkParts {
  readonly identity: Identity;
  readonly hello: GatewayHello;
  readonly desk: Pick<GatewayDesk, 'serve' | 'size' | 'traffic'>;
  readonly station: Pick<Station, 'become' | 'speakTo'>;
  readonly onConnected: (isConnected: boolean) => void;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export async function keepGatewayLink(parts: GatewayLinkParts): Promise<void> {
  const { signal, logger } = parts;
  let attempt = 0;
  while (!signal.aborted) {
    const wasOpen = await connectOnce(parts).catch((err: unknown) => {
      if (!signal.aborted) logger.warn({ err, attempt }, 'the control plane cannot be reached');
      return false;
    });
    attempt = wasOpen ? 0 : attempt + 1;
    await sleep(backOffMs(attempt, Math.random()), undefined, { signal }).catch(() => undefined);
  }
}

/** Resolves when the connection is over, and says whether there was one. */
async function connectOnce(parts: GatewayLinkParts): Promise<boolean> {
  const { identity, hello, signal, logger } = parts;
  const socket = new WebSocket(`${identity.url}/gateway`, {
    ...tlsOf(identity),
    maxPayload: MAX_FRAME_BYTES,
    handshakeTimeout: HANDSHAKE_LIMIT_MS,
    perMessageDeflate: false,
    followRedirects: false,
  });
  const end = () => socket.terminate();
  signal.addEventListener('abort', end);
  const stopHeartbeat = keepAlive(socket);
  const closed = once(socket, 'close');
  closed.catch(() => undefined);
  let reporting: NodeJS.Timeout | undefined;
  try {
    await once(socket, 'open', { signal });
    send(socket, hello);
    parts.station.speakTo((frame) => send(socket, frame));
    logger.info('connected to the control plane');
    parts.onConnected(true);
    socket.on('error', (err) => logger.warn({ err }, 'the connection broke'));
    socket.on('message', (data, isBinary) => hear(parts, socket, isBinary ? '' : String(data)));
    const report = () => send(socket, { type: 'held', vms: parts.desk.size });
    reporting = setInterval(report, REPORT_INTERVAL_MS);
    await closed;
    return true;
  } finally {
    clearInterval(reporting);
    stopHeartbeat();
    signal.removeEventListener('abort', end);
    socket.terminate();
    parts.onConnected(false);
  }
}

function hear(parts: GatewayLinkParts, socket: WebSocket, text: string): void {
  const frame = ControlFrame.safeParse(parseJson(text));
  if (!frame.success) {
    socket.close(MALFORMED, 'a frame could not be understood');
    return;
  }
  if (frame.data.type === 'serve') serve(parts, socket, frame.data);
  else account(parts, socket, frame.data);
}

function account({ desk, logger }: GatewayLinkParts, socket: WebSocket, asked: AskTraffic): void {
  const { ask, vmId } = asked;
  desk
    .traffic(vmId)
    .then((traffic) => send(socket, { type: 'traffic', ask, traffic: traffic ?? null }))
    .catch((err: unknown) => logger.error({ err, vmId }, 'its traffic could not be read'));
}

function serve(parts: GatewayLinkParts, socket: WebSocket, { number, role, vms }: Serve): void {
  const { desk, station, logger } = parts;
  // Both at once: whoever takes over has had these VMs, and must not wait for what is new of them.
  Promise.all([desk.serve(vms), station.become(role)])
    .then(([refused]) => send(socket, { type: 'served', number, refused }))
    .catch((err: unknown) => {
      logger.error({ err }, 'a picture was not served');
      // On the next connection it is told again.
      socket.close(FAILED, 'a picture was not served');
    });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function send(socket: WebSocket, frame: GatewayFrame): void {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
}
