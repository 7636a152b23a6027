/**
 * Gets the control plane's CA certificate from the control plane itself, knowing only its hash.
 * The connection is not trusted and carries nothing but the handshake; the hash decides.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import type { EnrolmentToken } from '../protocol/enrolment.ts';
import { ControlPlaneUnreachableError, EnrolmentError } from './control-errors.ts';

const MAX_CHAIN = 5;

/**
 * The PEM of the CA whose DER has the token's SHA-256. Throws EnrolmentError when the server shows
 * no such CA (someone else answers there), ControlPlaneUnreachableError when nobody answers.
 */
export async function fetchPinnedCa(token: EnrolmentToken, signal: AbortSignal): Promise<string> {
  const chain = await readChain(new URL(token.url), signal);
  const pinned = chain.find(
    (der) => createHash('sha256').update(der).digest('hex') === token.caSha256,
  );
  if (pinned !== undefined) return new X509Certificate(pinned).toString();
  throw new EnrolmentError(
    `What answers at ${token.url} is not the control plane that made this token: its CA is another. Get a new token, and check the address.`,
  );
}

async function readChain(url: URL, signal: AbortSignal): Promise<readonly Buffer[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const socket = connect({
    host,
    port: Number(url.port || 443),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    minVersion: 'TLSv1.3',
    // Nobody is trusted here: the caller compares the CA with the pinned hash before any use of it.
    rejectUnauthorized: false,
  });
  try {
    await once(socket, 'secureConnect', { signal });
    return chainOf(socket.getPeerCertificate(true));
  } catch (cause) {
    throw new ControlPlaneUnreachableError(
      `Nothing that speaks TLS 1.3 answers at ${url.origin}. Check the address and the network; the agent tries again.`,
      { cause },
    );
  } finally {
    socket.destroy();
  }
}

function chainOf(leaf: DetailedPeerCertificate): readonly Buffer[] {
  const chain: Buffer[] = [];
  let certificate: DetailedPeerCertificate | undefined = leaf;
  while (certificate?.raw !== undefined && chain.length < MAX_CHAIN) {
    chain.push(certificate.raw);
    const issuer: DetailedPeerCertificate = certificate.issuerCertificate;
    certificate = issuer === certificate ? undefined : issuer;
  }
  return chain;
}
