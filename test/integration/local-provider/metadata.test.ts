/** The metadata service, asked from inside a host as a cloud's tools would. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { NO_NOTICES } from '../../../app/providers/local/metadata-answers.ts';
import { type LocalFleet, startLocalFleet } from '../../contract/provider/local-fleet.ts';
import { until } from './until.ts';

const TOKEN_TTL = 'x-aws-ec2-metadata-token-ttl-seconds';
const Answer = z.object({ status: z.int(), body: z.string() });

let fleet: LocalFleet;
let machineId = '';

beforeAll(async () => {
  fleet = await startLocalFleet();
  const request = { offerId: 'any', clientToken: 'one', enrolmentToken: 'architect_test' };
  machineId = (await fleet.provider.launch(request, AbortSignal.timeout(60_000))).machineId;
  await until('the metadata service', () =>
    ask('/').then(
      () => true,
      () => undefined,
    ),
  );
});
afterAll(() => fleet?.destroy());

async function ask(path: string, init: RequestInit = {}, base = 'http://169.254.169.254') {
  const program = fileURLToPath(new URL('ask.ts', import.meta.url));
  const netns = `--net=/run/netns/ar-${fleet.at.fleet}-${machineId}`;
  const { stdout } = await execa(
    'nsenter',
    [netns, process.execPath, program, base + path, JSON.stringify(init)],
    { timeout: 30_000 },
  );
  return Answer.parse(JSON.parse(stdout));
}

async function read(item: string) {
  const token = await ask('/latest/api/token', { method: 'PUT', headers: { [TOKEN_TTL]: '60' } });
  const headers = { 'x-aws-ec2-metadata-token': token.body };
  return ask(`/latest/meta-data/${item}`, { headers });
}

test('only who has a token is told anything', async () => {
  expect((await ask('/latest/meta-data/instance-id')).status).toBe(401);
  expect(await read('instance-id')).toEqual({ status: 200, body: machineId });
});

test('a notice shows once it is given, and can be taken back', async () => {
  expect((await read('spot/instance-action')).status).toBe(404);
  const instanceAction = { action: 'terminate' as const, time: '2026-11-23T20:00:00Z' };
  const rebalance = { noticeTime: '2026-11-23T19:55:00Z' };
  await fleet.provider.setNotices(machineId, { instanceAction, rebalance });
  expect(JSON.parse((await read('spot/instance-action')).body)).toEqual(instanceAction);
  const told = await read('events/recommendations/rebalance');
  expect(JSON.parse(told.body)).toEqual(rebalance);
  await fleet.provider.setNotices(machineId, NO_NOTICES);
  expect((await read('spot/instance-action')).status).toBe(404);
});

test('a host reaches the outside and the agents’ endpoint, and nothing else of the machine', async () => {
  const { bridgeAddress, agentPort, outsideAddress = '' } = fleet.network;
  const servers: Server[] = [];
  // On each address by itself: another fleet's control plane may hold the port on its own.
  const listen = async (port: number) => {
    for (const host of [bridgeAddress, outsideAddress]) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined).resume();
        socket.end('HTTP/1.0 200 OK\r\n\r\nhello');
      });
      servers.push(server);
      server.listen(port, host);
      await once(server, 'listening');
    }
    return port;
  };
  const reaches = (host: string, port: number) =>
    ask('/', { method: 'GET' }, `http://${host}:${port}`).then(
      ({ body }) => body,
      () => 'silent',
    );
  try {
    const port = await listen(agentPort);
    expect(await reaches(bridgeAddress, port)).toBe('hello');
    expect(await reaches(outsideAddress, port)).toBe('hello');
    const otherPort = await listen(agentPort + 1);
    expect(await reaches(outsideAddress, otherPort)).toBe('hello');
    expect(await reaches(bridgeAddress, otherPort)).toBe('silent');
  } finally {
    for (const server of servers) server.close();
  }
});
