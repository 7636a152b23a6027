/** A control plane of a few lines: TLS with a CA of its own, and whatever the test answers. */
import { mkdtemp, rm } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateAuthority,
  openCertificateAuthority,
} from '../../../app/agents/certificate-authority.ts';
import { generateHostKeys } from '../../../host-agent/control/host-keys.ts';
import type { Identity } from '../../../host-agent/control/identity.ts';
import { encodeEnrolmentToken } from '../../../host-agent/protocol/enrolment.ts';
import { HostId } from '../../../host-agent/protocol/ids.ts';

export const SECRET = 'a-secret-of-at-least-32-characters-length';

export interface TlsServer {
  readonly server: Server;
  readonly url: string;
  readonly authority: CertificateAuthority;
  readonly token: string;
  identity(): Promise<Identity>;
  close(): Promise<void>;
}

export async function startTlsServer(answer: RequestListener): Promise<TlsServer> {
  const dir = await mkdtemp(join(tmpdir(), 'tls-server-'));
  const authority = await openCertificateAuthority(join(dir, 'ca'), Date.now());
  const { keyPem, certificatePem } = await authority.issueServer({
    names: ['127.0.0.1'],
    nowMs: Date.now(),
  });
  const server = createServer(
    {
      key: keyPem,
      cert: certificatePem + authority.certificatePem,
      ca: authority.certificatePem,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false,
    },
    answer,
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const url = `https://127.0.0.1:${port}`;
  return {
    server,
    url,
    authority,
    token: encodeEnrolmentToken({ url, caSha256: authority.sha256, secret: SECRET }),
    identity: () => issueIdentity(authority, url),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function issueIdentity(authority: CertificateAuthority, url: string): Promise<Identity> {
  const hostId = HostId.parse('host-1');
  const { csrPem, privateKeyPem } = await generateHostKeys();
  const issued = await authority.signHost({ csrPem, hostId, nowMs: Date.now() });
  if (issued.kind === 'refused') throw new Error(issued.why);
  const { certificatePem } = issued;
  return { hostId, url, caPem: authority.certificatePem, certificatePem, privateKeyPem };
}
