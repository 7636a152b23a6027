/** The EC2 provider from its settings. The SDKs are loaded here only: they are large. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import { readIfThere, writeDurably } from '../../durable-file.ts';
import { Ec2Provider } from './ec2-provider.ts';
import type { Ec2Settings } from './ec2-settings.ts';
import { openLaunchJournal } from './launch-journal.ts';

const OWNER_FILE = 'ec2-owner';
const OWNER_BYTES = 6;

/** Asks nothing of EC2. */
export async function openEc2(given: {
  readonly settings: Ec2Settings;
  readonly dataDir: string;
  readonly fleet: string;
  readonly pool: PoolSpec;
  readonly logger: Logger;
}): Promise<Ec2Provider> {
  const { settings, dataDir, fleet, pool, logger } = given;
  const ownerId = await ensureOwnerId(dataDir);
  const sdk = await import('@aws-sdk/client-ec2');
  const sqs = settings.noticeQueue === undefined ? undefined : await import('@aws-sdk/client-sqs');
  const journal = await openLaunchJournal(dataDir);
  const now = Date.now;
  return new Ec2Provider({ sdk, sqs, settings, fleet, ownerId, pool, journal, now, logger });
}

/** Instances carry it as a tag: what another control plane bought is never touched. */
async function ensureOwnerId(dataDir: string): Promise<string> {
  const path = join(dataDir, OWNER_FILE);
  // A file that cannot be read must not make a new owner: the old one's hosts cost money.
  const known = await readIfThere(path);
  if (known !== undefined) return known.trim();
  const ownerId = randomBytes(OWNER_BYTES).toString('hex');
  await writeDurably(path, `${ownerId}\n`);
  return ownerId;
}
