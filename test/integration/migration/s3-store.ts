/** An S3 store for hosts: moto's, behind a proxy that can be told to fail. */
import type { S3StoreSpec } from '../../../host-agent/protocol/store-spec.ts';
import { startFaultProxy } from '../../fakes/object-store/fault-proxy.ts';
import { startMoto } from '../../fakes/object-store/moto.ts';

const BUCKET = 'chunks';

/** Listens on `host`. */
export async function startS3(host = '127.0.0.1') {
  const moto = await startMoto();
  await moto.makeBucket(BUCKET);
  const proxy = await startFaultProxy(moto.url, host);
  const spec: S3StoreSpec = {
    kind: 's3',
    endpoint: proxy.url,
    region: 'eu-central-1',
    bucket: BUCKET,
    prefix: 'fleet/',
    forcePathStyle: true,
    credentials: { accessKeyId: 'AKID', secretAccessKey: 'not-a-secret' },
  };
  const stop = async () => {
    await proxy.stop();
    await moto.stop();
  };
  return { proxy, spec, [Symbol.asyncDispose]: stop };
}
