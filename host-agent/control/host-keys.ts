/** The host's key pair and the request for its certificate (PKCS#10, RFC 2986). */
import 'reflect-metadata';
import { createPrivateKey, KeyObject, webcrypto, X509Certificate } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';

export interface HostKeys {
  readonly privateKeyPem: string;
  readonly csrPem: string;
}

/** A fresh P-256 pair. The subject is a placeholder: the control plane chooses the host's id. */
export async function generateHostKeys(): Promise<HostKeys> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await Pkcs10CertificateRequestGenerator.create(
    { name: 'CN=architect-host', keys, signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } },
    webcrypto,
  );
  const privateKeyPem = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' });
  return { privateKeyPem: privateKeyPem.toString(), csrPem: csr.toString('pem') };
}

/** False also for text that is no certificate. */
export function certificateIsFor(certificatePem: string, privateKeyPem: string): boolean {
  try {
    const certificate = new X509Certificate(certificatePem);
    return certificate.checkPrivateKey(createPrivateKey(privateKeyPem));
  } catch {
    return false;
  }
}
