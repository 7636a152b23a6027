/**
 * Enrolment, the agent's side (protocol/enrolment.ts). The token pins the CA by hash, so nothing
 * has to be trusted beforehand:
 *
 *   1. a bare TLS handshake; the server shows its chain; no byte of the token is sent
 *   2. the chain's CA must have the pinned SHA-256, else: refused
 *   3. POST /enrol over a new connection that trusts this CA alone, in full verification
 *   4. the answer's certificate must be for our key, then it is stored, then the token is deleted
 *
 * On failure nothing is stored, and the token file stays where it can still be used.
 */
import { readFile, rm, stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { Agent, request as httpRequest } from 'undici';
import {
  decodeEnrolmentToken,
  type EnrolmentToken,
  EnrolRequest,
  EnrolResponse,
} from '../protocol/enrolment.ts';
import { ControlPlaneUnreachableError, EnrolmentError } from './control-errors.ts';
import { certificateIsFor, generateHostKeys, type HostKeys } from './host-keys.ts';
import { type Identity, readIdentity, writeIdentity } from './identity.ts';
import { fetchPinnedCa } from './pinned-ca.ts';
import { fingerprintOf } from './tls.ts';

const ENROL_TIMEOUT_MS = 20_000;
const ANSWER_LIMIT_BYTES = 64 * 1024;

/**
 * The host's identity: enrols when there is a token file, else reads what an earlier enrolment
 * stored. A token that the control plane no longer takes does not harm a host that is enrolled.
 * Throws EnrolmentError when there is neither, ControlPlaneUnreachableError when trying later helps.
 */
export async function ensureIdentity(request: {
  readonly agentDir: string;
  readonly tokenFile: string | undefined;
  /** What the control plane calls this machine. */
  readonly hostname: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<Identity> {
  const { agentDir, tokenFile, hostname, logger, signal } = request;
  const known = await readIdentity(agentDir);
  const token = tokenFile === undefined ? undefined : await readToken(tokenFile);
  if (tokenFile === undefined || token === undefined) {
    if (known !== undefined) return known;
    throw new EnrolmentError(
      'This host is not enrolled. Get a token on the control plane and run `architect host join TOKEN`.',
    );
  }
  try {
    const identity = await enrol({ token, hostname, signal });
    await writeIdentity(agentDir, identity);
    await rm(tokenFile, { force: true });
    return identity;
  } catch (error) {
    if (known === undefined || !(error instanceof EnrolmentError)) throw error;
    logger.warn(
      { hostId: known.hostId, err: error },
      'enrolment token not usable; keeping identity',
    );
    await rm(tokenFile, { force: true });
    return known;
  }
}

/** Uses the token up. The control plane knows the host from then on, whatever happens here. */
export async function enrol(request: {
  readonly token: EnrolmentToken;
  readonly hostname: string;
  readonly signal: AbortSignal;
}): Promise<Identity> {
  const { token, hostname, signal } = request;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ENROL_TIMEOUT_MS)]);
  const caPem = await fetchPinnedCa(token, limit);
  const keys = await generateHostKeys();
  const answer = await postEnrol({ token, caPem, hostname, csrPem: keys.csrPem, signal: limit });
  checkAnswer(answer, { token, keys });
  return {
    hostId: answer.hostId,
    url: token.url.replace(/\/+$/, ''),
    caPem: answer.caPem,
    certificatePem: answer.certificatePem,
    privateKeyPem: keys.privateKeyPem,
  };
}

function checkAnswer(
  answer: EnrolResponse,
  { token, keys }: { readonly token: EnrolmentToken; readonly keys: HostKeys },
): void {
  if (fingerprintOf(answer.caPem) !== token.caSha256) {
    throw new EnrolmentError('The control plane answered with another CA than the token names.');
  }
  if (!certificateIsFor(answer.certificatePem, keys.privateKeyPem)) {
    throw new EnrolmentError('The control plane answered with a certificate for another key.');
  }
}

async function readToken(tokenFile: string): Promise<EnrolmentToken | undefined> {
  const about = await stat(tokenFile).catch(() => undefined);
  if (about === undefined) return undefined;
  if ((about.mode & 0o077) !== 0) {
    throw new EnrolmentError(
      `Others can read ${tokenFile}. Get a new token, and store it with mode 0600.`,
    );
  }
  const token = decodeEnrolmentToken((await readFile(tokenFile, 'utf8')).trim());
  if (token !== undefined) return token;
  throw new EnrolmentError(`${tokenFile} holds no enrolment token. Get a new one.`);
}

async function postEnrol(request: {
  readonly token: EnrolmentToken;
  readonly caPem: string;
  readonly hostname: string;
  readonly csrPem: string;
  readonly signal: AbortSignal;
}): Promise<EnrolResponse> {
  const { token, caPem, hostname, csrPem, signal } = request;
  const dispatcher = new Agent({
    connect: { ca: caPem, minVersion: 'TLSv1.3' },
    maxResponseSize: ANSWER_LIMIT_BYTES,
  });
  const body = EnrolRequest.parse({ secret: token.secret, csrPem, hostname });
  try {
    const { statusCode, body: answer } = await httpRequest(
      `${token.url.replace(/\/+$/, '')}/enrol`,
      {
        dispatcher,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal,
      },
    );
    return readAnswer(statusCode, await answer.text());
  } catch (cause) {
    if (cause instanceof EnrolmentError) throw cause;
    throw unreachable(token.url, cause);
  } finally {
    await dispatcher.destroy();
  }
}

function readAnswer(statusCode: number, text: string): EnrolResponse {
  if (statusCode === 401) {
    throw new EnrolmentError(
      'The control plane does not take this enrolment token: it was used, has expired, or is not its own. Get a new one.',
    );
  }
  if (statusCode !== 200) throw new Error(`status ${statusCode}`);
  return EnrolResponse.parse(JSON.parse(text));
}

function unreachable(url: string, cause: unknown): ControlPlaneUnreachableError {
  return new ControlPlaneUnreachableError(
    `Enrolling with ${url} did not succeed. Check that this host reaches it; the agent tries again.`,
    { cause },
  );
}
