/** The project's own simulated metadata service, as a process on loopback. */

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Notices } from '../../../app/providers/local/metadata-answers.ts';
import type { MetadataOptions } from '../../../app/providers/local/metadata-service.ts';
import { sendNotices } from '../../../app/providers/local/notice-control.ts';
import { portOf } from '../../fakes/metadata/listening.ts';
import { until } from '../local-provider/until.ts';

const PROGRAM = fileURLToPath(
  new URL('../../../app/providers/local/metadata-service.ts', import.meta.url),
);

const ASK_LIMIT_MS = 2_000;

export interface Ec2Service extends AsyncDisposable {
  readonly url: string;
  give(notices: Notices): Promise<void>;
  /** Kills it and starts it again on the same address: it no longer knows its tokens or notices. */
  restart(): Promise<void>;
}

export async function startEc2Service(): Promise<Ec2Service> {
  const dir = await mkdtemp(join(tmpdir(), 'architect-metadata-'));
  const options: MetadataOptions = {
    instance: { instanceId: 'h-test', instanceType: '2cpu-4gb', place: 'local' },
    address: '127.0.0.1',
    port: await freePort(),
    controlSocket: join(dir, 'metadata.sock'),
  };
  const url = `http://127.0.0.1:${options.port}`;
  let child = spawn(options);
  const awaitStart = () =>
    until('the metadata service', () =>
      fetch(url, { signal: AbortSignal.timeout(ASK_LIMIT_MS) }).then(
        () => true,
        () => undefined,
      ),
    );
  const kill = async () => {
    child.kill('SIGKILL');
    await child;
  };
  await awaitStart();
  return {
    url,
    give: (notices) => sendNotices(options.controlSocket, notices),
    restart: async () => {
      await kill();
      child = spawn(options);
      await awaitStart();
    },
    [Symbol.asyncDispose]: async () => {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function spawn(options: MetadataOptions) {
  const env = { ARCHITECT_METADATA: JSON.stringify(options) };
  return execa(process.execPath, [PROGRAM], { env, reject: false, cleanup: true });
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}
