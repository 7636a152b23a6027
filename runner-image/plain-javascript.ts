/**
 * Copies a folder of TypeScript as JavaScript: types removed, nothing else changed. Node could do
 * that at each start, but under software emulation it costs the guest a good part of a second.
 */
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join, relative } from 'node:path';

const RELATIVE_IMPORT = /(\bfrom\s*|\bimport\s*\(?\s*)'(\.{1,2}\/[^']+)\.ts'/g;

/** Erasable types only, as everywhere in this project; throws on anything else. */
export function toJavaScript(source: string): string {
  return stripTypeScriptTypes(source).replace(RELATIVE_IMPORT, "$1'$2.js'");
}

/** Other files are copied as they are; tests are left out. `into` must not exist. */
export async function copyAsJavaScript(from: string, into: string): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile() || entry.name.endsWith('.test.ts')) continue;
    const source = join(entry.parentPath, entry.name);
    const target = join(into, relative(from, source));
    await mkdir(dirname(target), { recursive: true });
    if (entry.name.endsWith('.ts')) {
      await writeFile(target.replace(/\.ts$/, '.js'), toJavaScript(await readFile(source, 'utf8')));
    } else {
      await writeFile(target, await readFile(source));
      await chmod(target, (await stat(source)).mode);
    }
  }
}
