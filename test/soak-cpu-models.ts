/**
 * `npm run soak -- --cpu-models`: for each CPU model that emulation offers completely, a pool of its own,
 * and a VM of it that moves to another host and back with what it has in memory and on its disk. A
 * template fits one model, so each is captured anew, which boots the guest once; they go with the soak.
 */
import { chmod, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { PoolSpec } from '../host-agent/protocol/host-facts.ts';
import { ensurePool } from '../runner-image/prepare-pool.ts';
import { FILL, HASH, inGuest } from './integration/migration/in-guest.ts';
import { MovingAgents } from './integration/migration/moving-agents.ts';

/** What the guest says of its CPU (/proc/cpuinfo), by model. */
const MODELS = {
  qemu64: /QEMU Virtual CPU/,
  Nehalem: /Nehalem/,
  Westmere: /Westmere/,
} as const;
const HOME = process.env.ARCHITECT_HOME ?? '/var/lib/architect';
const CPU_NAME = 'grep -m1 "model name" /proc/cpuinfo';

type Model = keyof typeof MODELS;

/** False when a guest was not whole, or not of its model; throws when one could not be moved. */
export async function soakCpuModels(write: (text: string) => void): Promise<boolean> {
  const prepared = join(HOME, 'artifacts');
  const text = await readFile(join(prepared, 'pools/small-x64-tcg-qemu64.json'), 'utf8');
  const qemu64 = PoolSpec.parse(JSON.parse(text));
  // Short: QEMU's sockets are in it.
  const dir = await mkdtemp('/var/tmp/cpu-');
  try {
    const own = await makeStore(dir, prepared, qemu64);
    const results = [await hop('qemu64', { pool: qemu64, artifactsDir: prepared }, write)];
    for (const cpuModel of ['Nehalem', 'Westmere'] as const) {
      write(`${cpuModel}: capturing a template`);
      const pool = await ensurePool({
        ...{ storeDir: own, profile: 'small', image: qemu64.image, cpuModel, fresh: false },
        ...{ progress: () => undefined, signal: new AbortController().signal },
      });
      results.push(await hop(cpuModel, { pool, artifactsDir: own }, write));
    }
    return results.every(Boolean);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** With the image that is there already; QEMU's users get through to it. */
async function makeStore(dir: string, prepared: string, { image }: PoolSpec): Promise<string> {
  await chmod(dir, 0o755);
  const own = join(dir, 'artifacts');
  await mkdir(own);
  const folder = image.replace(':', '-');
  await symlink(join(prepared, folder), join(own, folder));
  return own;
}

async function hop(
  model: Model,
  setting: { readonly pool: PoolSpec; readonly artifactsDir: string },
  write: (text: string) => void,
): Promise<boolean> {
  await using agents = await MovingAgents.start(['one', 'two'], setting);
  const vmId = await agents.startVm('one');
  const said = async (host: string, script: string) =>
    await inGuest(agents, { vmId, host, script });
  const cpu = await said('one', CPU_NAME);
  const before = await said('one', FILL);
  const there = await agents.move(vmId, { from: 'one', to: 'two' });
  const isWholeThere = (await said('two', HASH)) === before;
  const back = await agents.move(vmId, { from: 'two', to: 'one' });
  const isWhole = isWholeThere && (await said('one', HASH)) === before;
  const isOfModel = MODELS[model].test(cpu) && (await said('one', CPU_NAME)) === cpu;
  const blackouts = [there, back].map(({ source }) => `${Math.round(source.blackoutMs ?? 0)} ms`);
  const outcome = isWhole && isOfModel ? 'whole' : 'NOT whole, or of another model';
  write(`${model}: ${cpu.split(':')[1]?.trim()}; stood ${blackouts.join(' and ')}; ${outcome}`);
  return isWhole && isOfModel;
}
