/** What the host's process prints, a line of JSON each. */
import { z } from 'zod';

/** The steps of a start, in their order; each is the time since the decision, milliseconds. */
export const START_STEPS = [
  'network and journal',
  'files, overlay, cgroup, QEMU spawned',
  'QMP ready',
  'device state loaded',
  'guest agent answers',
  'idle: identity renewed, grown',
] as const;

export const StartMeasured = z.object({
  kind: z.literal('start'),
  className: z.string(),
  atMs: z.array(z.number()).length(START_STEPS.length),
});
export type StartMeasured = Readonly<z.infer<typeof StartMeasured>>;

/** Since QEMU was spawned. */
export const ColdBootMeasured = z.object({
  kind: z.literal('cold-boot'),
  answeredAtMs: z.number(),
  settledAtMs: z.number(),
});
export type ColdBootMeasured = Readonly<z.infer<typeof ColdBootMeasured>>;

export const Measured = z.discriminatedUnion('kind', [StartMeasured, ColdBootMeasured]);
export type Measured = z.infer<typeof Measured>;

export const HostTask = z.object({
  fleet: z.string(),
  homeDir: z.string(),
  dir: z.string(),
  starts: z.array(
    z.object({
      className: z.string(),
      vcpus: z.int(),
      memoryMib: z.int(),
      diskGib: z.int(),
      count: z.int(),
    }),
  ),
  coldBoots: z.int(),
});
export type HostTask = Readonly<z.infer<typeof HostTask>>;
