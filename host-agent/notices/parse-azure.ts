/**
 * Azure's Scheduled Events (learn.microsoft.com, "Azure Metadata Service: Scheduled Events for Linux
 * VMs"). One document lists the events of all VMs in the same availability or scale set; `Resources`
 * says whose each is. `NotBefore` is an RFC 1123 date, empty once the event has started.
 *
 * Of an event that ends this machine, or only stops what runs on it (a reboot ends the VMs here just
 * as well), the host is emptied. A `Freeze` is a pause of seconds and is left out.
 */
import { z } from 'zod';
import {
  type MetadataAnswer,
  parseJson,
  type SaidNotice,
  type TopicAnswer,
  unusable,
} from './topic-answer.ts';

const ENDING: ReadonlySet<string> = new Set(['Preempt', 'Terminate', 'Reboot', 'Redeploy']);
const MAX_EVENTS = 1000;

const ScheduledEvents = z.object({
  DocumentIncarnation: z.int(),
  Events: z
    .array(
      z.object({
        EventId: z.string().min(1).max(256),
        EventType: z.string(),
        Resources: z.array(z.string()).default([]),
        NotBefore: z.string().default(''),
      }),
    )
    .max(MAX_EVENTS),
});
type ScheduledEvent = z.infer<typeof ScheduledEvents>['Events'][number];

/** `vmName` undefined: not known, so every event counts as this machine's. */
export function parseScheduledEvents(
  answer: MetadataAnswer,
  vmName: string | undefined,
): TopicAnswer {
  const { data } = ScheduledEvents.safeParse(parseJson(answer.body));
  if (answer.status !== 200 || data === undefined) return unusable(answer);
  const [soonest] = data.Events.filter(
    ({ EventType, Resources }) => ENDING.has(EventType) && concerns(Resources, vmName),
  )
    .map(toNotice)
    .toSorted((a, b) => (a.atMs ?? 0) - (b.atMs ?? 0) || (a.key < b.key ? -1 : 1));
  return soonest === undefined ? { kind: 'none' } : { kind: 'said', said: soonest };
}

/** `instance/compute/name` as text. */
export function parseVmName({ status, body }: MetadataAnswer): string | undefined {
  return status === 200 && /^[\w.-]{1,128}$/.test(body.trim()) ? body.trim() : undefined;
}

function concerns(resources: readonly string[], vmName: string | undefined): boolean {
  return vmName === undefined || resources.includes(vmName);
}

/** The key is the event's id alone: a started event is the same one, although its time is gone. */
function toNotice({ EventId, NotBefore }: ScheduledEvent): SaidNotice {
  const atMs = Date.parse(NotBefore);
  const known = Number.isNaN(atMs) ? undefined : atMs;
  return { kind: 'interruption', key: EventId, atMs: known };
}
