/**
 * The agents' own certificate authority (RFC 5280, ECDSA P-256). It signs two kinds of certificate:
 * the endpoint's, and one for each host whose common name is the host's id. With the latter a host
 * dials the endpoint and its peers, and answers peers that dial it.
 *
 *   <dataDir>/ca/key.pem          0600, made once, never leaves this folder
 *   <dataDir>/ca/certificate.pem  its SHA-256 is pinned by every enrolment token
 *
 * Invariants: the folder appears whole or not at all; of two processes that create it at once, one
 * wins and both use the winner's. Of a host's signing request only the public key is taken.
 */
import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { ArchitectError, type Refused, refused } from '../../host-agent/protocol/errors.ts';
import type { HostId } from '../../host-agent/protocol/ids.ts';
import { createFolderDurably } from '../durable-file.ts';

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
const CA_LIFE_MS = 20 * 365 * DAY_MS;
const SERVER_LIFE_MS = 2 * 365 * DAY_MS;
const HOST_LIFE_MS = 365 * DAY_MS;
/** Hosts' clocks may run behind; a certificate is valid from a little before it was made. */
const CLOCK_SKEW_MS = 3_600_000;
/**
 * Hosts serve their peers, and must never pass for the endpoint: a name that cannot be an address
 * (RFC 6761, 6.4) keeps clients from falling back to the common name.
 */
const NO_ADDRESS = 'hosts.architect.invalid';

export class CertificateAuthorityError extends ArchitectError {
  readonly code = 'CERTIFICATE_AUTHORITY';
  readonly retry = 'never';
}

export interface ServerIdentity {
  readonly keyPem: string;
  readonly certificatePem: string;
}

export interface IssuedCertificate {
  readonly kind: 'issued';
  readonly certificatePem: string;
  /** SHA-256 of the certificate's DER, hexadecimal. */
  readonly fingerprint: string;
}

export interface CertificateAuthority {
  readonly certificatePem: string;
  /** SHA-256 of the CA certificate's DER, hexadecimal: what enrolment tokens pin. */
  readonly sha256: string;
  /** A fresh key and certificate for the endpoint, valid for these DNS names and IP addresses. */
  issueServer(request: {
    readonly names: readonly string[];
    readonly nowMs: number;
  }): Promise<ServerIdentity>;
  /** Signs a host's PKCS#10 request; refused when it is malformed, not P-256 or not its own. */
  signHost(request: {
    readonly csrPem: string;
    readonly hostId: HostId;
    readonly nowMs: number;
  }): Promise<IssuedCertificate | Refused>;
}

/** Opens `dir`, creating the authority on first use. Throws CertificateAuthorityError on damage. */
export async function openCertificateAuthority(
  dir: string,
  nowMs: number,
): Promise<CertificateAuthority> {
  const stored = (await readAuthority(dir)) ?? (await createAuthority(dir, nowMs));
  const issuer = await toIssuer(stored, dir);
  const { certificate } = issuer;
  return {
    certificatePem: stored.certificatePem,
    sha256: sha256Hex(certificate.rawData),
    issueServer: ({ names, nowMs }) => issueServer(issuer, names, nowMs),
    signHost: (request) => signHost(issuer, request),
  };
}

interface Issuer {
  readonly certificate: x509.X509Certificate;
  readonly key: webcrypto.CryptoKey;
}

async function toIssuer({ certificatePem, keyPem }: ServerIdentity, dir: string): Promise<Issuer> {
  try {
    const certificate = new x509.X509Certificate(certificatePem);
    return { certificate, key: await importPrivateKey(keyPem) };
  } catch (cause) {
    throw new CertificateAuthorityError(
      `The agents' certificate authority in ${dir} is damaged. Restore it from a backup, or move the folder away: every host then has to join again, with a new token.`,
      { cause },
    );
  }
}

interface Subject {
  readonly commonName: string;
  readonly publicKey: x509.PublicKeyType;
  readonly extensions: x509.Extension[];
  readonly nowMs: number;
  readonly lifeMs: number;
}

async function readAuthority(dir: string): Promise<ServerIdentity | undefined> {
  try {
    const keyPem = await readFile(join(dir, 'key.pem'), 'utf8');
    const certificatePem = await readFile(join(dir, 'certificate.pem'), 'utf8');
    return { keyPem, certificatePem };
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new CertificateAuthorityError(
      `Cannot read the agents' certificate authority in ${dir}. Run as the user who created it.`,
      { cause },
    );
  }
}

async function createAuthority(dir: string, nowMs: number): Promise<ServerIdentity> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=Architect agents CA',
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + CA_LIFE_MS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const made = {
    keyPem: await exportPrivateKey(keys.privateKey),
    certificatePem: formatPem(certificate),
  };
  const files = { 'key.pem': made.keyPem, 'certificate.pem': made.certificatePem };
  if (await createFolderDurably(dir, files)) return made;
  const winner = await readAuthority(dir);
  if (winner !== undefined) return winner;
  throw new CertificateAuthorityError(
    `${dir} exists but holds no certificate authority. Remove it; hosts then have to join again.`,
  );
}

async function issueServer(
  issuer: Issuer,
  names: readonly string[],
  nowMs: number,
): Promise<ServerIdentity> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const certificate = await issue(issuer, {
    commonName: 'architect agent endpoint',
    publicKey: keys.publicKey,
    nowMs,
    lifeMs: SERVER_LIFE_MS,
    extensions: [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((name) => ({ type: isIP(name) === 0 ? 'dns' : 'ip', value: name })),
      ),
    ],
  });
  return {
    keyPem: await exportPrivateKey(keys.privateKey),
    certificatePem: formatPem(certificate),
  };
}

async function signHost(
  issuer: Issuer,
  request: { readonly csrPem: string; readonly hostId: HostId; readonly nowMs: number },
): Promise<IssuedCertificate | Refused> {
  const publicKey = await readRequestKey(request.csrPem);
  if (publicKey === undefined) {
    return refused('The certificate request is not a valid PKCS#10 request with a P-256 key.');
  }
  const certificate = await issue(issuer, {
    commonName: request.hostId,
    publicKey,
    nowMs: request.nowMs,
    lifeMs: HOST_LIFE_MS,
    extensions: [
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.clientAuth,
        x509.ExtendedKeyUsage.serverAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: `${request.hostId}.${NO_ADDRESS}` },
      ]),
    ],
  });
  return {
    kind: 'issued',
    certificatePem: formatPem(certificate),
    fingerprint: sha256Hex(certificate.rawData),
  };
}

/** Every parser error of somebody else's bytes is the same refusal: the request is no good. */
async function readRequestKey(csrPem: string): Promise<x509.PublicKey | undefined> {
  try {
    const request = new x509.Pkcs10CertificateRequest(csrPem);
    const { namedCurve } = curveOf(request.publicKey.algorithm);
    if (namedCurve !== P256.namedCurve) return undefined;
    return (await request.verify()) ? request.publicKey : undefined;
  } catch {
    return undefined;
  }
}

async function issue(issuer: Issuer, subject: Subject): Promise<x509.X509Certificate> {
  return await x509.X509CertificateGenerator.create({
    subject: [{ CN: [subject.commonName] }],
    issuer: issuer.certificate.subject,
    notBefore: new Date(subject.nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(subject.nowMs + subject.lifeMs),
    signingAlgorithm: SIGNING,
    publicKey: subject.publicKey,
    signingKey: issuer.key,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.certificate.publicKey),
      ...subject.extensions,
    ],
  });
}

function curveOf(algorithm: object): { readonly namedCurve: unknown } {
  return { namedCurve: 'namedCurve' in algorithm ? algorithm.namedCurve : undefined };
}

async function exportPrivateKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return x509.PemConverter.encode(der, 'PRIVATE KEY');
}

async function importPrivateKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(pem);
  return await webcrypto.subtle.importKey('pkcs8', der, P256, false, ['sign']);
}

/** Ends with a line break, so that PEM blocks can be put one after the other. */
function formatPem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

function sha256Hex(bytes: ArrayBuffer): string {
  return createHash('sha256').update(Buffer.from(bytes)).digest('hex');
}
