/** Enrolment against impostors, and a control plane that talks nonsense. */
import { once } from 'node:events';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { EnrolmentError } from '../../../host-agent/control/control-errors.ts';
import { enrol } from '../../../host-agent/control/enrol.ts';
import { ControlLink } from '../../../host-agent/control/link.ts';
import { CLOSE_MALFORMED_FRAME } from '../../../host-agent/control/link-state.ts';
import { decodeEnrolmentToken } from '../../../host-agent/protocol/enrolment.ts';
import type { Hello } from '../../../host-agent/protocol/messages.ts';
import { hostFacts } from '../../fixtures/protocol.ts';
import { startTlsServer, type TlsServer } from './tls-server.ts';

const hello: Hello = {
  type: 'hello',
  protocol: 1,
  agentVersion: 'test',
  bootId: '4f0a9b5e-6d0c-4e57-9d0e-1f6f3c2b7a10',
  facts: hostFacts(),
};

let server: TlsServer;
let sockets: WebSocketServer;
let asked: number;
beforeEach(async () => {
  asked = 0;
  server = await startTlsServer((_request, response) => {
    asked += 1;
    response.writeHead(401).end();
  });
  sockets = new WebSocketServer({ server: server.server });
});
afterEach(async () => {
  for (const socket of sockets.clients) socket.terminate();
  sockets.close();
  await server.close();
});

function tokenOf(text: string) {
  const token = decodeEnrolmentToken(text);
  if (token === undefined) throw new Error('no token');
  return token;
}

test('a server with another CA never sees the secret', async () => {
  const token = { ...tokenOf(server.token), caSha256: 'a'.repeat(64) };
  const enrolling = enrol({
    token: token,
    hostname: 'worker',
    signal: AbortSignal.timeout(30_000),
  });
  await expect(enrolling).rejects.toThrow(EnrolmentError);
  await expect(enrolling).rejects.toThrow(/its CA is another/);
  expect(asked).toBe(0);
});

test('a refused token says so', async () => {
  const enrolling = enrol({
    token: tokenOf(server.token),
    hostname: 'worker',
    signal: AbortSignal.timeout(30_000),
  });
  await expect(enrolling).rejects.toThrow(/does not take this enrolment token/);
  expect(asked).toBe(1);
});

test('nonsense ends the connection with a code, and the agent dials again', async () => {
  const link = new ControlLink({
    identity: await server.identity(),
    hello,
    picture: () => ({ artifacts: [], vms: [], notice: null }),
    serve: async () => ({ kind: 'taken' }),
    onAdmitted: () => {},
    onState: () => {},
    nowMs: Date.now,
    logger: pino({ level: 'silent' }),
  });
  try {
    link.start();
    for (const nonsense of ['{"type":"shutdown"}', 'not JSON', Buffer.from([0, 1, 2])]) {
      const [socket]: WebSocket[] = await once(sockets, 'connection');
      if (socket === undefined) throw new Error('no socket');
      const [first] = await once(socket, 'message');
      expect(JSON.parse(String(first))).toMatchObject({ type: 'hello' });
      socket.send(nonsense);
      const [code] = await once(socket, 'close');
      expect(code).toBe(CLOSE_MALFORMED_FRAME);
    }
  } finally {
    link.end();
  }
});
