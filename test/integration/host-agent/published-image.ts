/** An image as a control plane has it, and the server that hosts fetch it from. */
import { readFile, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { basename, join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import {
  createStagingFolder,
  publishArtifact,
} from '../../../host-agent/artifacts/artifact-store.ts';
import { artifactFolder } from '../../../host-agent/protocol/artifact.ts';
import type { Digest } from '../../../host-agent/protocol/ids.ts';
import { startTlsServer, type TlsServer } from './tls-server.ts';

/** Its `disk.raw` is nearly all zeros; `vmlinuz` is a few bytes. */
export async function publishImage(storeDir: string, diskBytes: number): Promise<Digest> {
  const stagingDir = await createStagingFolder(storeDir);
  const disk = Buffer.alloc(diskBytes);
  disk.write('at the start', 0);
  disk.write('at the end', diskBytes - 10);
  await writeFile(join(stagingDir, 'disk.raw'), disk);
  await writeFile(join(stagingDir, 'vmlinuz'), 'a kernel');
  const description = {
    kind: 'image',
    profile: 'small',
    arch: 'x64',
    guestKernel: '6.12',
    kernelArguments: '',
  } as const;
  return await publishArtifact({ storeDir, stagingDir, description });
}

/** `spoil`: what a test does to one answer; true when it has answered. It hears of each file first. */
export async function serveImage(
  storeDir: string,
  digest: Digest,
  spoil: (file: string, response: ServerResponse, bytes: Buffer) => boolean,
): Promise<TlsServer> {
  return await startTlsServer((request, response) => {
    const file = basename(request.url ?? '');
    void readFile(join(storeDir, artifactFolder(digest), file)).then((bytes) => {
      if (spoil(file, response, bytes)) return;
      response.writeHead(200, { 'content-type': 'application/zstd' });
      response.end(zstdCompressSync(bytes));
    });
  });
}
