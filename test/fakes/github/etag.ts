/**
 * Conditional requests: each answer has an ETag, and who sends it back hears of changes only.
 * Source: docs.github.com, "Best practices for using the REST API", "Use conditional requests".
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** True when the caller has this already: the answer is a 304 then, and has no body. */
export function answerUnchanged(
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
): boolean {
  if (request.method !== 'GET' || reply.statusCode !== 200 || typeof payload !== 'string')
    return false;
  const etag = `W/"${createHash('sha256').update(payload).digest('hex')}"`;
  reply.header('etag', etag);
  if (request.headers['if-none-match'] !== etag) return false;
  reply.code(304);
  return true;
}
