import { X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { checkServerIdentity } from 'node:tls';
import { expect, test } from 'vitest';
import { openCertificateAuthority } from '../../../app/agents/certificate-authority.ts';
import { EnrolmentStore } from '../../../app/agents/enrolment.ts';
import { enrol as agentEnrol } from '../../../host-agent/control/enrol.ts';
import {
  decodeEnrolmentToken,
  EnrolmentToken,
  encodeEnrolmentToken,
} from '../../../host-agent/protocol/enrolment.ts';
import { enrol, makeRequest, openDoor, postEnrol } from './agent-door.ts';

test('a token makes one host, once', async () => {
  await using door = await openDoor();
  const secret = decodeEnrolmentToken(door.issue())?.secret;
  const { csrPem } = await makeRequest();
  const first = await postEnrol(door, { secret, csrPem, hostname: 'worker' });
  expect(first.status).toBe(200);
  const second = await postEnrol(door, { secret, csrPem, hostname: 'worker' });
  expect(second).toMatchObject({ status: 401, text: expect.stringContaining('used before') });
  expect(door.enrolment.hostsSeenSince(0)).toHaveLength(1);
});

test('a used token stays used when the store is opened anew', async () => {
  await using door = await openDoor();
  const secret = decodeEnrolmentToken(door.issue())?.secret ?? '';
  const { csrPem } = await makeRequest();
  await postEnrol(door, { secret, csrPem, hostname: 'worker' });
  const endpoint = { url: door.url, caSha256: door.authority.sha256 };
  const again = new EnrolmentStore(join(door.dir, 'enrolment.db'), endpoint);
  expect(again.judge(secret, Date.now())).toEqual({ kind: 'bad', why: 'used' });
  again.close();
});

test('what enrolled with a version that knew no gateways is a host', async () => {
  await using door = await openDoor();
  const path = join(door.dir, 'old.db');
  const old = new DatabaseSync(path);
  old.exec(`
    CREATE TABLE tokens (
      lookup TEXT PRIMARY KEY, secret_sha256 BLOB NOT NULL, machine_id TEXT,
      expires_at_ms INTEGER NOT NULL, used_at_ms INTEGER) STRICT;
    CREATE TABLE hosts (
      host_id TEXT PRIMARY KEY, hostname TEXT NOT NULL, machine_id TEXT,
      fingerprint TEXT NOT NULL UNIQUE, enrolled_at_ms INTEGER NOT NULL,
      seen_at_ms INTEGER NOT NULL, revoked_at_ms INTEGER) STRICT;
    INSERT INTO hosts VALUES ('host-1', 'one', NULL, 'f', 1, 1, NULL);
  `);
  old.close();
  const store = new EnrolmentStore(path, { url: door.url, caSha256: door.authority.sha256 });
  expect(store.hostsSeenSince(0)).toMatchObject([{ hostId: 'host-1', role: 'host' }]);
  const nowMs = Date.now();
  const token = decodeEnrolmentToken(
    store.issueEnrolmentToken({ ttlMs: 60_000, role: 'gateway', nowMs }),
  );
  expect(token?.role).toBe('gateway');
  expect(store.judge(token?.secret ?? '', nowMs)).toMatchObject({ role: 'gateway' });
  store.close();
});

test('expired and unknown tokens are refused', async () => {
  await using door = await openDoor();
  const { csrPem } = await makeRequest();
  const expired = decodeEnrolmentToken(door.issue(0))?.secret;
  const body = { csrPem, hostname: 'worker' };
  expect(await postEnrol(door, { ...body, secret: expired })).toMatchObject({
    status: 401,
    text: expect.stringContaining('expired'),
  });
  expect((await postEnrol(door, { ...body, secret: 'x'.repeat(43) })).status).toBe(401);
});

test('a bad request is refused and leaves the token usable', async () => {
  await using door = await openDoor();
  const secret = decodeEnrolmentToken(door.issue())?.secret ?? '';
  const wrongCurve = await makeRequest('P-384');
  const good = await makeRequest();
  const forged = good.csrPem.replace(/\n.{20}/, (start) => `${start.slice(0, 11)}AAAAAAAAAA`);
  for (const csrPem of [wrongCurve.csrPem, forged, 'nonsense']) {
    const answer = await postEnrol(door, { secret, csrPem, hostname: 'worker' });
    expect(answer.status).toBe(400);
  }
  expect((await postEnrol(door, { secret, hostname: 'x', csrPem: 5 })).status).toBe(400);
  expect((await postEnrol(door, { secret: 'x'.repeat(40_000) })).status).toBe(413);
  expect(door.enrolment.judge(secret, Date.now()).kind).toBe('good');
});

test('many enrolments from one address are slowed down', async () => {
  await using door = await openDoor();
  const statuses = new Set<number>();
  for (let count = 0; count < 31; count += 1) statuses.add((await postEnrol(door, {})).status);
  expect([...statuses]).toEqual([400, 429]);
});

test("the host-agent's own client enrols, and refuses another CA than the token pins", async () => {
  await using door = await openDoor();
  const token = EnrolmentToken.parse({ ...decodeEnrolmentToken(door.issue()), url: door.url });
  const signal = AbortSignal.timeout(10_000);
  const pinnedWrong = { ...token, caSha256: '0'.repeat(64) };
  expect(decodeEnrolmentToken(encodeEnrolmentToken(pinnedWrong))).toEqual(pinnedWrong);
  await expect(agentEnrol({ token: pinnedWrong, hostname: 'worker', signal })).rejects.toThrow(
    /its CA is another/,
  );
  const identity = await agentEnrol({ token, hostname: 'worker', signal });
  expect(door.enrolment.findHost(identity.hostId)?.revoked).toBe(false);
});

test('key, database and CA are private, and the CA is made once', async () => {
  await using door = await openDoor();
  await enrol(door);
  for (const file of ['ca/key.pem', 'enrolment.db']) {
    expect((await stat(join(door.dir, file))).mode & 0o777).toBe(0o600);
  }
  const path = join(door.dir, 'second', 'ca');
  const opened = await Promise.all([1, 2, 3].map(() => openCertificateAuthority(path, Date.now())));
  expect(new Set(opened.map((authority) => authority.sha256)).size).toBe(1);
});

test('a host proves itself to both sides, and never passes for the endpoint', async () => {
  await using door = await openDoor();
  const { hostId, cert, ca } = await enrol(door);
  const certificate = new X509Certificate(cert);
  expect(certificate.verify(new X509Certificate(ca).publicKey)).toBe(true);
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1']);
  expect(certificate.subject).toBe(`CN=${hostId}`);
  // Without a name in the extension, clients would compare the common name with the address.
  expect(checkServerIdentity(hostId, certificate.toLegacyObject())).toBeInstanceOf(Error);
});
