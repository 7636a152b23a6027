/** Asks the metadata address as each cloud would have it; choose-cloud.ts judges the answers. */
import { AZURE_HEADERS, AZURE_INSTANCE } from './azure-topics.ts';
import type { ProbeAnswers } from './choose-cloud.ts';
import { TOKEN_QUESTION } from './ec2-topics.ts';
import { GOOGLE_HEADERS } from './gcp-topics.ts';
import type { MetadataClient, MetadataQuestion } from './metadata-client.ts';

const PROBE_LIMIT_MS = 1_000;

export async function probeClouds(
  client: MetadataClient,
  signal: AbortSignal,
): Promise<ProbeAnswers> {
  const probe = (question: Pick<MetadataQuestion, 'method' | 'path' | 'headers'>) =>
    client.ask({ ...question, limitMs: PROBE_LIMIT_MS, signal }).catch(() => undefined);
  const [ec2, gcp, azure] = await Promise.all([
    probe(TOKEN_QUESTION),
    probe({ path: '/computeMetadata/v1/', headers: GOOGLE_HEADERS }),
    probe({ path: AZURE_INSTANCE, headers: AZURE_HEADERS }),
  ]);
  return { ec2, gcp, azure };
}
