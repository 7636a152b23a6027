/** What `npm run demo -- --report FILE` writes. */
import { z } from 'zod';

export const TIMELINE_EVENTS = [
  'webhook received',
  'VM started',
  'runner online',
  'first step',
  'done',
  'VM destroyed',
] as const;
export type TimelineEvent = (typeof TIMELINE_EVENTS)[number];

const Move = z.object({
  from: z.string(),
  to: z.string(),
  blackoutMs: z.number(),
  bytesFromSource: z.int(),
  bytesFromStore: z.int(),
  packetsLost: z.int(),
});

export const DemoReport = z.object({
  job: z.object({ id: z.string(), conclusion: z.string(), host: z.string() }),
  vm: z.object({
    id: z.string(),
    qemuPid: z.int(),
    /** As the job itself printed it. */
    guestKernel: z.string(),
    accelerator: z.string(),
  }),
  /** Milliseconds since 1970. */
  timeline: z.array(z.object({ event: z.enum(TIMELINE_EVENTS), atMs: z.number() })),
  /** Empty until VMs move. */
  moves: z.array(Move),
  /** Names of processes, namespaces, links, cgroups, mounts and files that were left behind. */
  leftovers: z.array(z.string()),
});
export type DemoReport = Readonly<z.infer<typeof DemoReport>>;

export type Moments = Readonly<Partial<Record<TimelineEvent, number>>>;

/** In the order of a job's life; what did not happen is left out. */
export function toTimeline(moments: Moments): DemoReport['timeline'] {
  return TIMELINE_EVENTS.flatMap((event) => {
    const atMs = moments[event];
    return atMs === undefined ? [] : [{ event, atMs }];
  });
}

/** One line per event: seconds since the first, seconds since the one before. */
export function formatTimeline(timeline: DemoReport['timeline']): string {
  const startMs = timeline[0]?.atMs ?? 0;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(3)} s`.padStart(10);
  return timeline
    .map(({ event, atMs }, index) => {
      const beforeMs = timeline[index - 1]?.atMs ?? startMs;
      return `  ${event.padEnd(18)}${seconds(atMs - startMs)}   +${seconds(atMs - beforeMs).trim()}`;
    })
    .join('\n');
}

/** The kernel that the job's first step printed, or undefined when its log has no such line. */
export function parseGuestKernel(log: string): string | undefined {
  return /kernel (\S+),/.exec(log)?.[1];
}
