/**
 * What a QEMU says of itself over QMP on standard output: the greeting and the answer to
 * `query-cpu-definitions` (QEMU qapi/machine-target.json). A model is offered when none of its features
 * is unavailable under the accelerator, and when its guests can be moved to another host.
 */
import { z } from 'zod';

const Greeting = z.object({
  QMP: z.object({
    version: z.object({
      qemu: z.object({ major: z.int(), minor: z.int(), micro: z.int() }),
    }),
  }),
});

const CpuDefinitions = z.object({
  return: z
    .array(
      z.object({
        name: z.string(),
        'migration-safe': z.boolean().optional(),
        'unavailable-features': z.array(z.string()).optional(),
      }),
    )
    .min(1),
});

const MAX_MODELS = 512;

export interface QemuFacts {
  /** `major.minor.micro` */
  readonly version: string;
  readonly cpuModels: readonly string[];
}

/** Undefined when the text is not that of a QEMU that answered both. */
export function parseQemuAnswers(text: string): QemuFacts | undefined {
  let version: string | undefined;
  let cpuModels: readonly string[] | undefined;
  for (const line of text.split('\n')) {
    const value = parseJson(line);
    const greeting = Greeting.safeParse(value).data?.QMP.version.qemu;
    if (greeting !== undefined) version = `${greeting.major}.${greeting.minor}.${greeting.micro}`;
    cpuModels ??= offeredModels(CpuDefinitions.safeParse(value).data);
  }
  return version === undefined || cpuModels === undefined ? undefined : { version, cpuModels };
}

function offeredModels(
  answer: z.infer<typeof CpuDefinitions> | undefined,
): readonly string[] | undefined {
  return answer?.return
    .filter((model) => model['migration-safe'] === true)
    .filter((model) => model['unavailable-features']?.length === 0)
    .map((model) => model.name)
    .filter((name) => name.length <= 64)
    .sort()
    .slice(0, MAX_MODELS);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Older ones lack `switchover-ack` and the machine type that pools pin. */
export const LEAST_QEMU = '8.2.0';

/** True when `version` (`major.minor.micro`) is `least` or newer. */
export function isAtLeast(version: string, least: string): boolean {
  const wanted = least.split('.').map(Number);
  const got = version.split('.').map(Number);
  for (const [place, number] of wanted.entries()) {
    const difference = (got[place] ?? 0) - number;
    if (difference !== 0) return difference > 0;
  }
  return true;
}
