/** Events as GitHub sends them, with something wrong in them; and what is right, written down anew. */
import webhookExamples from '@octokit/webhooks-examples' with { type: 'json' };
import fc from 'fast-check';
import { z } from 'zod';

const Examples = z.array(z.object({ name: z.string(), examples: z.array(z.looseObject({})) }));
const examplesOf = (event: string) =>
  Examples.parse(webhookExamples).find(({ name }) => name === event)?.examples ?? [];

const GOOD_INSTANTS = ['2026-01-01T00:00:00Z', '2026-01-01T02:00:00.123+02:00'];
const BAD_INSTANTS = ['2026-13-01T00:00:00Z', '2026-02-30T00:00:00Z', 'yesterday', '1767225600'];
const STATUSES = ['queued', 'in_progress', 'completed', 'waiting', 'requested', 'pending'];

const PLACES = [
  ...['action', 'workflow_job', 'repository', 'organization', 'installation'].map((one) => [one]),
  ...['id', 'run_id', 'head_sha', 'status', 'conclusion', 'created_at', 'started_at'].map((one) => [
    'workflow_job',
    one,
  ]),
  ...['completed_at', 'name', 'workflow_name', 'labels', 'runner_name', 'steps'].map((one) => [
    'workflow_job',
    one,
  ]),
  ...[
    ['repository', 'name'],
    ['repository', 'owner'],
    ['organization', 'login'],
  ],
  ...[
    ['repository', 'owner', 'login'],
    ['repository', 'owner', 'type'],
    ['installation', 'id'],
  ],
  ...[['workflow_job', 'labels', '0'], ['sender'], ['__proto__'], ['workflow_job', 'toString']],
];

const junk: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, 0, 1, -1, 1.5, 2 ** 60, true, '', '1', [], {}),
  fc.constantFrom(...GOOD_INSTANTS, ...BAD_INSTANTS, ...STATUSES, 'x'.repeat(33)),
  fc.constantFrom('x'.repeat(65), 'x'.repeat(101), 'x'.repeat(129), 'x'.repeat(501)),
  fc.constantFrom<unknown>(['architect'], Array(101).fill('a'), ['x'.repeat(501)], [1], [null]),
  fc.constantFrom<unknown>({ login: 'octo' }, { login: 'x'.repeat(101) }, { login: 7 }, { id: 3 }),
  fc.integer(),
  fc.string({ unit: 'binary' }),
  fc.jsonValue(),
);
const change = fc.record({ at: fc.constantFrom(...PLACES), to: junk });

function changed(event: unknown, at: readonly string[], to: unknown): unknown {
  const [step, ...rest] = at;
  if (step === undefined) return to;
  if (typeof event !== 'object' || event === null) return event;
  const before: unknown = Reflect.get(event, step);
  const copy = Array.isArray(event) ? [...event] : { ...event };
  Object.defineProperty(copy, step, {
    value: changed(before, rest, to),
    ...{ enumerable: true, configurable: true, writable: true },
  });
  return copy;
}

/** A body as it was sent: what JSON has no word for is not in it. */
const sent = (event: unknown): unknown => JSON.parse(JSON.stringify(event) ?? 'null');

const jobEvents = examplesOf('workflow_job').map((one) => ({ ...one, installation: { id: 5 } }));
const installationEvents = examplesOf('installation');

export const payloads: fc.Arbitrary<unknown> = fc
  .record({
    event: fc.constantFrom<unknown>(...jobEvents, ...jobEvents, ...installationEvents, null, [], 7),
    changes: fc.array(change, { maxLength: 3 }),
  })
  .map(({ event, changes }) =>
    sent(changes.reduce((one, { at, to }) => changed(one, at, to), event)),
  );

function fields(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? Object.fromEntries(Object.entries(value)) : undefined;
}

const isText = (value: unknown, min: number, max: number): value is string =>
  typeof value === 'string' && value.length >= min && value.length <= max;
const isId = (value: unknown) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
const isAbsent = (value: unknown) => value === undefined || value === null;
/** Instants come from few texts, and texts drawn by chance are none. */
const isInstant = (value: unknown) =>
  isAbsent(value) ||
  (typeof value === 'string' && (GOOD_INSTANTS.includes(value) || isPublished(value)));
const isPublished = (text: string) =>
  /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text) &&
  !BAD_INSTANTS.includes(text);

export function isJobEvent(payload: unknown): boolean {
  const event = fields(payload);
  const job = fields(event?.workflow_job);
  if (event === undefined || job === undefined || !isText(event.action, 0, 32)) return false;
  const { labels } = job;
  return (
    [job.id, job.run_id].every(isId) &&
    isText(job.head_sha, 1, 64) &&
    typeof job.status === 'string' &&
    STATUSES.includes(job.status) &&
    [job.created_at, job.started_at, job.completed_at].every(isInstant) &&
    typeof job.name === 'string' &&
    (isAbsent(job.workflow_name) || typeof job.workflow_name === 'string') &&
    (isAbsent(job.conclusion) || isText(job.conclusion, 0, 32)) &&
    (isAbsent(job.runner_name) || isText(job.runner_name, 0, 128)) &&
    Array.isArray(labels) &&
    labels.length <= 100 &&
    labels.every((label) => isText(label, 0, 500)) &&
    isPlace(event)
  );
}

function isPlace(event: Readonly<Record<string, unknown>>): boolean {
  const repository = fields(event.repository);
  const owner = fields(repository?.owner);
  const { organization, installation } = event;
  return (
    isText(repository?.name, 1, 100) &&
    isText(owner?.login, 1, 100) &&
    (isAbsent(owner?.type) || isText(owner?.type, 0, 32)) &&
    (isAbsent(organization) || isText(fields(organization)?.login, 0, 100)) &&
    (isAbsent(installation) || isId(fields(installation)?.id))
  );
}

export function isInstallationEvent(payload: unknown): boolean {
  const event = fields(payload);
  const installation = fields(event?.installation);
  const account = installation?.account;
  return (
    isText(event?.action, 0, 64) &&
    isId(installation?.id) &&
    (isAbsent(account) || isText(fields(account)?.login, 0, 100))
  );
}
