/**
 * What waits in the queue: a delivery cut down to what the worker needs. Parsed twice, as it comes
 * from GitHub and as it comes from Redis, by the same schemas.
 */
import { z } from 'zod';
import { WorkflowJobEvent } from '../github/job-facts.ts';

/** BullMQ takes no colon in a job's id and nothing that looks like a number. */
const DeliveryId = z.string().regex(/^(?=.*[A-Za-z-])[\w-]{1,100}$/);

const InstallationEvent = z.object({
  action: z.string().max(64),
  installation: z.object({
    id: z.int().min(1),
    account: z.object({ login: z.string().max(100) }).nullish(),
  }),
});

export type InstallationEvent = Readonly<z.infer<typeof InstallationEvent>>;

const RawEvent = z.discriminatedUnion('name', [
  z.object({ name: z.literal('workflow_job'), payload: WorkflowJobEvent }),
  z.object({ name: z.literal('installation'), payload: InstallationEvent }),
]);
const Receipt = z.object({
  receivedAtMs: z.int(),
  /** By whose secret it is signed, where there are several Apps. */
  appId: z.int().optional(),
});
export const QueuedEvent = z.intersection(RawEvent, Receipt);
export type QueuedEvent = Readonly<z.output<typeof QueuedEvent>>;

/** As it is stored: before the schemas turned times into numbers. */
export type StoredEvent = z.input<typeof QueuedEvent>;

export interface Delivery {
  readonly id: string;
  readonly event: StoredEvent;
}

export type ParsedDelivery =
  | { readonly kind: 'delivery'; readonly delivery: Delivery }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'malformed'; readonly why: string };

export interface IncomingDelivery {
  readonly id: string;
  readonly name: string;
  readonly payload: unknown;
  /** Unset: there is one App. */
  readonly appId?: number | undefined;
}

/** The names of the events that are taken in. */
export const WANTED_EVENTS: ReadonlySet<string> = new Set<string>(
  RawEvent.options.map((option) => option.shape.name.value),
);

/** Events that the App did not ask for are ignored; a wanted one of the wrong shape is malformed. */
export function parseDelivery(incoming: IncomingDelivery, receivedAtMs: number): ParsedDelivery {
  const { id, name, payload, appId } = incoming;
  if (!DeliveryId.safeParse(id).success) {
    return { kind: 'malformed', why: 'X-GitHub-Delivery is not a delivery id' };
  }
  if (!WANTED_EVENTS.has(name)) return { kind: 'ignored' };
  const parsed = RawEvent.safeParse({ name, payload });
  if (!parsed.success) return { kind: 'malformed', why: describe(parsed.error) };
  const event = trim(parsed.data, receivedAtMs);
  const signed = appId === undefined ? event : { ...event, appId };
  return { kind: 'delivery', delivery: { id, event: signed } };
}

function describe(error: z.ZodError): string {
  const [first] = error.issues;
  return `${first?.path.join('.') ?? 'payload'}: ${first?.message ?? 'is not understood'}`;
}

function trim(event: z.output<typeof RawEvent>, receivedAtMs: number): StoredEvent {
  if (event.name === 'installation') return { ...event, receivedAtMs };
  const { workflow_job: job } = event.payload;
  const workflowJob = {
    ...job,
    created_at: formatInstant(job.created_at),
    started_at: formatInstant(job.started_at),
    completed_at: formatInstant(job.completed_at),
  };
  const payload = { ...event.payload, workflow_job: workflowJob };
  return { name: event.name, payload, receivedAtMs };
}

function formatInstant(atMs: number | null | undefined): string | null {
  return atMs == null ? null : new Date(atMs).toISOString();
}
