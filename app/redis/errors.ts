import { ArchitectError } from '../../host-agent/protocol/errors.ts';

/** The private redis-server did not come up; the message says what to do. */
export class RedisStartError extends ArchitectError {
  readonly code = 'REDIS_START';
  readonly retry = 'never';
}

/** Redis does not answer: the caller tries again later, the connections heal by themselves. */
export class RedisAwayError extends ArchitectError {
  readonly code = 'REDIS_AWAY';
  readonly retry = 'later';
}
