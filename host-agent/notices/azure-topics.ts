/**
 * Azure's Scheduled Events, asked for once a second, as Microsoft's documentation recommends. The
 * first question of a machine's life turns the service on and may take two minutes to be answered.
 * Events are never acknowledged from here: to do so starts them early.
 */
import type { MetadataClient } from './metadata-client.ts';
import { parseScheduledEvents, parseVmName } from './parse-azure.ts';
import type { Topic } from './poll-topic.ts';

export const AZURE_HEADERS = { metadata: 'true' } as const;
export const AZURE_INSTANCE = '/metadata/instance?api-version=2021-02-01';

const NAME_PATH = '/metadata/instance/compute/name?api-version=2021-02-01&format=text';
const EVENTS_PATH = '/metadata/scheduledevents?api-version=2020-07-01';
const EVERY_MS = 1_000;
const LIMIT_MS = 2_000;
const FIRST_LIMIT_MS = 130_000;

export function azureTopics(client: MetadataClient): readonly Topic[] {
  let vmName: string | undefined;
  let limitOfEventsMs = FIRST_LIMIT_MS;
  const ask: Topic['ask'] = async (limitMs, signal) => {
    const headers = AZURE_HEADERS;
    vmName ??= parseVmName(await client.ask({ path: NAME_PATH, headers, limitMs, signal }));
    const eventsMs = Math.max(limitMs, limitOfEventsMs);
    const answer = await client.ask({ path: EVENTS_PATH, headers, limitMs: eventsMs, signal });
    limitOfEventsMs = LIMIT_MS;
    return { answer, meaning: parseScheduledEvents(answer, vmName) };
  };
  return [{ source: 'azure', name: 'scheduledevents', everyMs: EVERY_MS, limitMs: LIMIT_MS, ask }];
}
