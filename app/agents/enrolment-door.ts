/** `POST /enrol`: a one-time token and a signing request in, a host's own certificate out. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { EnrolRequest, type EnrolResponse } from '../../host-agent/protocol/enrolment.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import { chooseHostId, type EnrolmentStore } from './enrolment.ts';
import type { RateLimit } from './rate-limit.ts';
import { readJsonBody } from './read-json-body.ts';

const WHY_NOT = {
  unknown: 'This enrolment token is not one of this control plane.',
  used: 'This enrolment token was used before.',
  expired: 'This enrolment token has expired.',
} as const;

interface Enrolment {
  readonly authority: CertificateAuthority;
  readonly enrolment: EnrolmentStore;
  readonly limit: RateLimit;
  readonly now: () => number;
  readonly logger: Logger;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

type Answer =
  | { readonly status: 200; readonly body: EnrolResponse }
  | { readonly status: 400 | 401 | 405 | 413 | 429; readonly why: string };

/** Always answers; a refused request leaves the token as it was. */
export async function answerEnrolment(call: Enrolment): Promise<void> {
  const { response, request, logger } = call;
  const address = request.socket.remoteAddress ?? 'unknown';
  const answer = await decide(call, address);
  if (answer.status === 200) {
    logger.info({ hostId: answer.body.hostId, address }, 'host enrolled');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer.body));
    return;
  }
  logger.warn({ address, why: answer.why }, 'enrolment refused');
  const { status, why } = answer;
  response.writeHead(status, { 'content-type': 'application/problem+json', connection: 'close' });
  response.end(
    JSON.stringify({ title: `${why} Ask for a new one: architect host token.`, status }),
  );
}

async function decide(call: Enrolment, address: string): Promise<Answer> {
  if (call.request.method !== 'POST') return { status: 405, why: 'Enrolment is a POST.' };
  if (!call.limit.take(address, call.now())) {
    return { status: 429, why: 'Too many enrolments from this address; wait a minute.' };
  }
  const body = await readJsonBody(call.request);
  if (body === undefined) return { status: 413, why: 'The enrolment request is too large.' };
  const parsed = EnrolRequest.safeParse(body);
  if (!parsed.success) return { status: 400, why: 'The enrolment request has the wrong shape.' };
  return await enrol(call, parsed.data);
}

async function enrol(call: Enrolment, wanted: EnrolRequest): Promise<Answer> {
  const nowMs = call.now();
  const verdict = call.enrolment.judge(wanted.secret, nowMs);
  if (verdict.kind === 'bad') return { status: 401, why: WHY_NOT[verdict.why] };
  const name = verdict.machineId ?? wanted.hostname;
  const hostId = chooseHostId(name, randomBytes(3).toString('hex'));
  const signed = await call.authority.signHost({ csrPem: wanted.csrPem, hostId, nowMs });
  if (signed.kind === 'refused') return { status: 400, why: signed.why };
  const { hostname } = wanted;
  const host = { hostId, hostname, fingerprint: signed.fingerprint };
  const used = call.enrolment.enrol(wanted.secret, host, nowMs);
  if (used.kind === 'bad') return { status: 401, why: WHY_NOT[used.why] };
  const { certificatePem } = signed;
  return {
    status: 200,
    body: { hostId, certificatePem, caPem: call.authority.certificatePem },
  };
}
