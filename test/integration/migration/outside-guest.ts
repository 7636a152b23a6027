/** A guest that stands, seen from outside: what its memory and its disk hold, whatever it says itself. */
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { TEMPLATE_MEMORY } from '../../../host-agent/vm/vm-files.ts';

const READ_BYTES = 4 * 1024 * 1024;

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Hex SHA-256 of its memory, as its QEMU has it mapped (proc(5): maps, mem). */
export async function hashMemory(pid: number): Promise<string> {
  const ranges = memoryRanges(await readFile(`/proc/${pid}/maps`, 'utf8'));
  if (ranges.length === 0) throw new Error(`process ${pid} maps no guest's memory`);
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(READ_BYTES);
  await using file = await open(`/proc/${pid}/mem`, 'r');
  for (const { start, end } of ranges) {
    for (let at = start; at < end; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(READ_BYTES, end - at), at);
      if (bytesRead === 0) throw new Error(`process ${pid} ended while it was read`);
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  }
  return hash.digest('hex');
}

/** Every QEMU of a pool maps its template's memory, copy-on-write. */
function memoryRanges(maps: string): readonly Range[] {
  const lines = maps.split('\n').filter((line) => line.endsWith(`/${TEMPLATE_MEMORY}`));
  return lines.map((line) => {
    const [start = '', end = ''] = line.split(' ')[0]?.split('-') ?? [];
    return { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16) };
  });
}

/** Whether two overlays read alike, whichever QEMUs have them open. Rejects when one is no overlay. */
export async function areSameDisks(one: string, other: string): Promise<boolean> {
  const compare = ['compare', '-U', '-f', 'qcow2', '-F', 'qcow2', one, other];
  const { exitCode, stderr } = await execa('qemu-img', compare, { reject: false });
  if (exitCode === 0 || exitCode === 1) return exitCode === 0;
  throw new Error(`qemu-img compare: ${stderr}`);
}
