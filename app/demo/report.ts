/** What `npm run demo -- --report FILE` writes. */
import { z } from 'zod';
import type { JobDetail } from '../api/views.ts';
import { formatBytes } from '../cli/present-moves.ts';

export const TIMELINE_EVENTS = [
  'webhook received',
  'VM started',
  'runner online',
  'first step',
  'notice',
  'moving',
  'moved',
  'done',
  'VM destroyed',
] as const;
export type TimelineEvent = (typeof TIMELINE_EVENTS)[number];

/** A move that the job survived. */
const Move = z.object({
  from: z.string(),
  to: z.string(),
  /** How long the guest did not run; null where its hosts forgot. */
  blackoutMs: z.number().nullable(),
  bytesFromSource: z.int(),
  bytesFromStore: z.int(),
  /** Null where nobody counts: there is no gateway. */
  packetsLost: z.int().nullable(),
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
  moves: z.array(Move),
  /** How often the job's connection to a server outside broke, as the job itself counted. */
  resets: z.int(),
  /** Between two lines of the job on one connection, by the clock of the server outside. */
  longestSilenceMs: z.number(),
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

/** Those that ended with the VM running elsewhere, in their order. */
export function toMoves(moves: JobDetail['moves']): DemoReport['moves'] {
  return moves.flatMap(({ phase, from, to, ...figures }) => {
    if (to === null || (phase !== 'done' && phase !== 'committed')) return [];
    const { blackoutMs, bytesFromSource, bytesFromStore, packetsLost } = figures;
    return [{ from, to, blackoutMs, bytesFromSource, bytesFromStore, packetsLost }];
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

/** One line per move. */
export function formatMoves(moves: DemoReport['moves']): string {
  if (moves.length === 0) return 'the job was done before its VM had moved';
  return moves
    .map(({ from, to, blackoutMs, bytesFromSource, bytesFromStore, packetsLost }) => {
      const away = blackoutMs === null ? 'an unknown time' : `${blackoutMs.toFixed(0)} ms`;
      const [peer, store] = [formatBytes(bytesFromSource), formatBytes(bytesFromStore)];
      const lost = packetsLost === null ? '' : `; ${packetsLost} packets lost`;
      return `moved from ${from} to ${to}: the guest stood for ${away}; ${peer} from the host, ${store} from the chunk store${lost}`;
    })
    .join('\n');
}

/** What the job itself counted; none when its log has no such line. */
export function parseResets(log: string): number {
  return Number(/^(\d+) connection resets$/m.exec(log)?.[1] ?? 0);
}

/** The kernel that the job's first step printed, or undefined when its log has no such line. */
export function parseGuestKernel(log: string): string | undefined {
  return /kernel (\S+),/.exec(log)?.[1];
}
