import { expect, test } from 'vitest';
import { ModelBackend, ModelObjects } from '../../test/fakes/object-store/model-backend.ts';
import { VmId } from '../protocol/ids.ts';
import { ConditionFailedError, ManifestDamagedError } from './chunk-errors.ts';
import { fenceHead } from './fence-head.ts';
import { encodeHead, fetchHead } from './head.ts';
import { headKey, manifestName } from './store-keys.ts';

const vmId = VmId.parse('vm-1');
const { signal } = new AbortController();

async function storeAt(epoch: number) {
  const backend = new ModelBackend(new ModelObjects());
  const name = manifestName({ epoch, generation: 3 }, Buffer.alloc(8));
  await backend.put(headKey(vmId), encodeHead(vmId, name), { signal });
  const head = await fetchHead(backend, vmId, { signal });
  if (head === undefined) throw new Error('there is no head');
  return { backend, head };
}

test('what is visible is published, and stays as it is', async () => {
  for (const epoch of [2, 5]) {
    const { backend, head } = await storeAt(epoch);
    expect(await fenceHead(backend, { vmId, epoch: 2, signal })).toBe('published');
    expect(await fetchHead(backend, vmId, { signal })).toEqual(head);
  }
});

test('what is not visible never will be: a put that is still on its way fails', async () => {
  const { backend, head } = await storeAt(1);
  expect(await fenceHead(backend, { vmId, epoch: 2, signal })).toBe('fenced');
  expect(await fetchHead(backend, vmId, { signal })).toMatchObject({
    epoch: 1,
    generation: 3,
    manifest: head.manifest,
  });
  const late = encodeHead(vmId, manifestName({ epoch: 2, generation: 1 }, Buffer.alloc(8)));
  const condition = { kind: 'matches', etag: head.etag } as const;
  const put = backend.put(headKey(vmId), late, { signal, condition });
  await expect(put).rejects.toThrow(ConditionFailedError);
});

test('without a head there is nothing to fence', async () => {
  const backend = new ModelBackend(new ModelObjects());
  const fencing = fenceHead(backend, { vmId, epoch: 2, signal });
  await expect(fencing).rejects.toThrow(ManifestDamagedError);
});
