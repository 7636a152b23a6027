/** The bytes of a range as a chunk holds them: what is base or zero in it filled in. */
import type { Area } from '../transfer/areas.ts';

/**
 * In `space`, which has room for a range, or in memory of its own. Undefined when it turned out to be
 * base or zero throughout meanwhile, which takes no chunk.
 */
export async function rangeContent(
  area: Area,
  { first, end }: { readonly first: number; readonly end: number },
  space: Buffer,
): Promise<Buffer | undefined> {
  if (end - first === 1) return await unitContent(area, first);
  const bytes = Math.min((end - first) * area.unitBytes, area.sizeBytes - first * area.unitBytes);
  const content = space.subarray(0, bytes);
  for (let unit = first; unit < end; unit += 1) {
    const read = area.read(unit);
    const piece = read instanceof Promise ? await read : read;
    piece.copy(content, (unit - first) * area.unitBytes);
  }
  return content;
}

async function unitContent(area: Area, unit: number): Promise<Buffer | undefined> {
  if (area.stateOf(unit) === 'base') return undefined;
  return Buffer.from(await area.read(unit));
}
