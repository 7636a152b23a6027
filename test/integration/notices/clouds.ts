/** Three clouds behind one face, so that what every watcher must do is tested on each. */
import type { Notices } from '../../../app/providers/local/metadata-answers.ts';
import type { NoticeSource } from '../../../host-agent/protocol/host-notice.ts';
import { startAzureMetadata } from '../../fakes/metadata/azure-metadata.ts';
import { startGcpMetadata } from '../../fakes/metadata/gcp-metadata.ts';
import { startEc2Service } from './ec2-service.ts';

export interface Cloud extends AsyncDisposable {
  readonly source: NoticeSource;
  readonly url: string;
  /** Gives the notice that this host goes away; at this time, where the cloud says one. */
  interrupt(atMs: number): Promise<void>;
  withdraw(): Promise<void>;
}

export async function startEc2(): Promise<Cloud> {
  const service = await startEc2Service();
  const give = (instanceAction: Notices['instanceAction']) =>
    service.give({ instanceAction, rebalance: null });
  return {
    source: 'ec2',
    url: service.url,
    interrupt: (atMs) => give({ action: 'terminate', time: new Date(atMs).toISOString() }),
    withdraw: () => give(null),
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}

export async function startGcp(): Promise<Cloud> {
  const server = await startGcpMetadata();
  return {
    source: 'gcp',
    url: server.url,
    interrupt: async () => server.set('instance/preempted', 'TRUE'),
    withdraw: async () => server.set('instance/preempted', 'FALSE'),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

export async function startAzure(): Promise<Cloud> {
  const server = await startAzureMetadata({ firstAnswerMs: 0 });
  return {
    source: 'azure',
    url: server.url,
    interrupt: async (atMs) =>
      server.setEvents([
        {
          EventId: 'an-eviction',
          EventType: 'Preempt',
          EventStatus: 'Scheduled',
          Resources: [server.vmName],
          NotBefore: new Date(atMs).toUTCString(),
        },
      ]),
    withdraw: async () => server.setEvents([]),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
