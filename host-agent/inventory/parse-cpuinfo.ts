/** `/proc/cpuinfo` of x86 and arm64 (Linux, arch/x86/kernel/cpu/proc.c, arch/arm64/kernel/cpuinfo.c). */
import type { CpuFacts } from '../protocol/host-facts.ts';

const MAX_FEATURES = 512;

/** Facts of the first processor; what the text does not say is `unknown`, and no features. */
export function parseCpuinfo(text: string): CpuFacts {
  const [first = ''] = text.split(/\n\s*\n/, 1);
  const fields = new Map<string, string>();
  for (const line of first.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  const features = fields.get('flags') ?? fields.get('Features') ?? '';
  return {
    vendor: clip(fields.get('vendor_id') ?? fields.get('CPU implementer'), 64),
    modelName: clip(fields.get('model name') ?? fields.get('CPU part'), 128),
    features: features
      .split(/\s+/)
      .filter((flag) => flag !== '' && flag.length <= 32)
      .slice(0, MAX_FEATURES),
  };
}

function clip(text: string | undefined, length: number): string {
  return text === undefined || text === '' ? 'unknown' : text.slice(0, length);
}
