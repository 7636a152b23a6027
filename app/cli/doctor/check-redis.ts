/** Redis: there, and keeping what it is told? Source: redis.io, "INFO", "CONFIG GET". */
import { execa } from 'execa';
import { Redis } from 'ioredis';
import { type Finding, failed, fine, warning } from './finding.ts';

const TIMEOUT_MS = 5_000;
const CHECK = 'Redis';

/** What a server says of itself; `save` undefined: it does not tell. */
export interface SeenRedis {
  readonly info: string;
  readonly save: string | undefined;
}

/** `url` undefined: architect starts a server of its own. */
export async function checkRedis(
  url: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<Finding> {
  if (url === undefined) return await checkProgram(environment);
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  redis.on('error', () => undefined);
  try {
    await redis.connect();
    return judgeRedis(await look(redis));
  } catch (error) {
    const why = error instanceof Error ? error.message : 'no answer';
    // The URL may hold a password: its host is all that is said.
    return failed(
      CHECK,
      `The Redis at ${new URL(url).host} cannot be used: ${why}`,
      'Start it, and check redis.url (or redis.urlFile, REDIS_URL), its password and the firewall.',
    );
  } finally {
    redis.disconnect();
  }
}

async function look(redis: Redis): Promise<SeenRedis> {
  const info = await redis.info();
  try {
    const answer = await redis.config('GET', 'save');
    return { info, save: Array.isArray(answer) ? String(answer[1] ?? '') : undefined };
  } catch {
    // Hosted services keep CONFIG for themselves.
    return { info, save: undefined };
  }
}

/** Pure. */
export function judgeRedis({ info, save }: SeenRedis): Finding {
  const fields = new Map(
    info.split(/\r?\n/).map((line) => [line.split(':')[0], line.split(':')[1]]),
  );
  const policy = fields.get('maxmemory_policy') ?? 'noeviction';
  const fix = 'On that server: CONFIG SET appendonly yes, then CONFIG REWRITE.';
  if (policy !== 'noeviction' && fields.get('maxmemory') !== '0')
    return failed(
      CHECK,
      `It throws keys away when memory is short (maxmemory-policy ${policy}).`,
      'On that server: CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE.',
    );
  if (fields.get('aof_enabled') === '1')
    return fine(CHECK, 'It answers, and keeps what it is told.');
  if (save === undefined)
    return warning(CHECK, 'It has no append-only file; its snapshots cannot be seen.', fix);
  if (save === '')
    return failed(CHECK, 'It keeps nothing: a restart forgets what runs and waits.', fix);
  return warning(CHECK, 'It takes snapshots only: a crash forgets the last minutes.', fix);
}

async function checkProgram(environment: NodeJS.ProcessEnv): Promise<Finding> {
  const { failed: broken, stdout } = await execa('redis-server', ['--version'], {
    env: { PATH: environment.PATH ?? '' },
    extendEnv: false,
    reject: false,
    timeout: TIMEOUT_MS,
  });
  if (!broken)
    return fine(CHECK, `A private one is started: ${/v=\S+/.exec(stdout)?.[0] ?? 'redis-server'}.`);
  return failed(
    CHECK,
    'No redis-server is installed for a private Redis.',
    'Run npm run setup, or set redis.url.',
  );
}
