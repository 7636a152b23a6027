import { pino } from 'pino';
import { expect, test } from 'vitest';
import { POOL, pool } from '../../test/fixtures/protocol.ts';
import type { ArtifactState } from '../artifacts/artifact-keeper.ts';
import { MemoryBase } from '../migration/image/memory-base.ts';
import { ImageArtifact, TemplateArtifact } from '../protocol/artifact.ts';
import { Digest } from '../protocol/ids.ts';
import { MemoryWarmer } from './memory-warmer.ts';

const file = { name: 'file', sizeBytes: 1, sha256: 'c'.repeat(64) };
const image = ImageArtifact.parse({
  ...{ kind: 'image', profile: 'small', arch: 'x64', guestKernel: '6.12', kernelArguments: '' },
  files: [file],
});
const { machineType, cpuModel, accelerator } = POOL;
const sizes = { vcpus: 1, maxVcpus: 8, memoryMib: 256, maxMemoryMib: 8192, memorySlots: 16 };
const template = TemplateArtifact.parse({
  ...{ kind: 'template', image: POOL.image, qemuVersion: '10.0.2', files: [file] },
  shape: { machineType, accelerator, cpuModel, ...sizes },
});

/** A host that has nothing yet, and what was read on it. */
function newHost(fails = false) {
  const states = new Map<Digest, ArtifactState>();
  const read: string[] = [];
  const told: string[] = [];
  const base = new MemoryBase({ sizeBytes: 0, segments: [], filled: new SharedArrayBuffer(0) });
  const warmer = new MemoryWarmer({
    artifacts: {
      state: (digest) => states.get(digest) ?? { kind: 'absent' },
      want: () => true,
    },
    memories: {
      of: async (dir) => {
        read.push(dir);
        if (fails) throw new Error('no such file');
        return base;
      },
    },
    logger: pino({}, { write: (line) => void told.push(line) }),
    afterMs: 0,
  });
  const put = (artifact: typeof image | typeof template, digest: Digest) => {
    const dir = `/store/${artifact.kind}`;
    states.set(digest, { kind: 'here', opened: { digest, dir, artifact } });
    warmer.look();
  };
  return { warmer, put, read, told };
}

test("the pool's template is read once, when host and artifacts are there", async () => {
  const { warmer, put, read } = newHost();
  put(image, POOL.image);
  warmer.admit(POOL);
  expect(read).toEqual([]);
  put(template, POOL.template);
  await expect.poll(() => read).toEqual(['/store/template']);
  warmer.look();
  warmer.admit(POOL);
  const other = Digest.parse(`sha256:${'d'.repeat(64)}`);
  put(template, other);
  warmer.admit(pool({ template: other }));
  await expect.poll(() => read).toHaveLength(2);
});

test('what cannot be read is told once, and the host goes on', async () => {
  const { warmer, put, read, told } = newHost(true);
  warmer.admit(POOL);
  put(image, POOL.image);
  put(template, POOL.template);
  warmer.look();
  await expect.poll(() => told).toEqual([expect.stringContaining('cannot be read ahead')]);
  expect(read).toHaveLength(1);
});
