/**
 * Who may become a host or a gateway, and who is one (`role`). SQLite in the data folder, synchronous = FULL, because a
 * used token must stay used after a crash or an emptied Redis.
 *
 *   token   issued ──use (once, before it expires)──→ used
 *   host    enrolled ──revoke──→ revoked (for good: the machine has to join again)
 *
 * Invariants: the secret itself is never stored, only its SHA-256; using a token and recording its
 * host are one transaction.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { AgentRole, encodeEnrolmentToken } from '../../host-agent/protocol/enrolment.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { openDatabase } from '../open-database.ts';

const SECRET_BYTES = 32;
const LOCK_WAIT_MS = 5_000;
/** Used and expired tokens are kept this long, so that their second use can be told apart. */
const TOKEN_KEPT_MS = 30 * 86_400_000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS tokens (
    lookup TEXT PRIMARY KEY, secret_sha256 BLOB NOT NULL, machine_id TEXT,
    expires_at_ms INTEGER NOT NULL, used_at_ms INTEGER,
    role TEXT NOT NULL DEFAULT 'host') STRICT;
  CREATE TABLE IF NOT EXISTS hosts (
    host_id TEXT PRIMARY KEY, hostname TEXT NOT NULL, machine_id TEXT,
    fingerprint TEXT NOT NULL UNIQUE, enrolled_at_ms INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL, revoked_at_ms INTEGER,
    role TEXT NOT NULL DEFAULT 'host') STRICT;
`;
/** Files of versions that knew no gateways. */
const ROLE_COLUMN = "ADD COLUMN role TEXT NOT NULL DEFAULT 'host'";

const TokenRow = z.object({
  secret_sha256: z.instanceof(Uint8Array),
  machine_id: z.string().nullable(),
  expires_at_ms: z.number(),
  used_at_ms: z.number().nullable(),
  role: AgentRole,
});

const HostRow = z
  .object({
    host_id: HostId,
    hostname: z.string(),
    machine_id: z.string().nullable(),
    fingerprint: z.string(),
    enrolled_at_ms: z.number(),
    seen_at_ms: z.number(),
    revoked_at_ms: z.number().nullable(),
    role: AgentRole,
  })
  .transform((row) => ({
    hostId: row.host_id,
    hostname: row.hostname,
    machineId: row.machine_id ?? undefined,
    fingerprint: row.fingerprint,
    enrolledAtMs: row.enrolled_at_ms,
    seenAtMs: row.seen_at_ms,
    revoked: row.revoked_at_ms !== null,
    role: row.role,
  }));
export type EnrolledHost = Readonly<z.infer<typeof HostRow>>;

export interface TokenRequest {
  readonly ttlMs: number;
  /** The provider's name of the machine that the token is for, where it is known. */
  readonly machineId?: string;
  /** A host's unless said. */
  readonly role?: AgentRole;
  readonly nowMs: number;
}

export interface NewHost {
  readonly hostId: HostId;
  readonly hostname: string;
  /** SHA-256 of the host's certificate, hexadecimal. */
  readonly fingerprint: string;
}

export type TokenVerdict =
  | { readonly kind: 'good'; readonly machineId: string | undefined; readonly role: AgentRole }
  | { readonly kind: 'bad'; readonly why: 'unknown' | 'used' | 'expired' };

export class EnrolmentStore {
  readonly #database: DatabaseSync;
  readonly #endpoint: { readonly url: string; readonly caSha256: string };

  /** Opens or creates the file (0600). `endpoint` is what tokens tell agents to dial and to pin. */
  constructor(path: string, endpoint: { readonly url: string; readonly caSha256: string }) {
    mkdirSync(dirname(path), { recursive: true });
    this.#endpoint = endpoint;
    this.#database = openDatabase(path, {
      prepare: (database) => {
        database.exec(`PRAGMA busy_timeout = ${LOCK_WAIT_MS}`);
        database.exec('PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;');
        database.exec(SCHEMA);
      },
      without: 'every host then has to join again, with a new token',
    });
    for (const table of ['tokens', 'hosts'] as const) this.#addRole(table);
  }

  close(): void {
    this.#database.close();
  }

  /** A new token, good for one use until `nowMs + ttlMs`. It is not stored and cannot be read again. */
  issueEnrolmentToken({ ttlMs, machineId, role = 'host', nowMs }: TokenRequest): string {
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const hash = hashSecret(secret);
    this.#run('DELETE FROM tokens WHERE expires_at_ms < ?', nowMs - TOKEN_KEPT_MS);
    this.#run(
      'INSERT INTO tokens VALUES (?, ?, ?, ?, NULL, ?)',
      lookupKey(hash),
      hash,
      machineId ?? null,
      nowMs + ttlMs,
      role,
    );
    return encodeEnrolmentToken({
      ...this.#endpoint,
      secret,
      ...(role === 'host' ? {} : { role }),
    });
  }

  /** Says whether the secret could be used now; changes nothing. */
  judge(secret: string, nowMs: number): TokenVerdict {
    const hash = hashSecret(secret);
    const found = this.#database
      .prepare('SELECT * FROM tokens WHERE lookup = ?')
      .get(lookupKey(hash));
    const row = found === undefined ? undefined : TokenRow.parse(found);
    if (row === undefined || !timingSafeEqual(hash, row.secret_sha256)) {
      return { kind: 'bad', why: 'unknown' };
    }
    if (row.used_at_ms !== null) return { kind: 'bad', why: 'used' };
    if (row.expires_at_ms <= nowMs) return { kind: 'bad', why: 'expired' };
    return { kind: 'good', machineId: row.machine_id ?? undefined, role: row.role };
  }

  /** Uses the token and records its host, both on disk when this returns, or neither. */
  enrol(secret: string, host: NewHost, nowMs: number): TokenVerdict {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const verdict = this.judge(secret, nowMs);
      if (verdict.kind === 'good') {
        const { machineId, role } = verdict;
        this.#record(secret, { ...host, machineId, role, nowMs });
      }
      this.#database.exec('COMMIT');
      return verdict;
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** The host that holds this certificate, revoked or not. */
  findByFingerprint(fingerprint: string): EnrolledHost | undefined {
    const row = this.#database
      .prepare('SELECT * FROM hosts WHERE fingerprint = ?')
      .get(fingerprint);
    return row === undefined ? undefined : HostRow.parse(row);
  }

  findHost(hostId: HostId): EnrolledHost | undefined {
    const row = this.#database.prepare('SELECT * FROM hosts WHERE host_id = ?').get(hostId);
    return row === undefined ? undefined : HostRow.parse(row);
  }

  /** Hosts, or gateways, that are not revoked and were last seen at `sinceMs` or later. */
  hostsSeenSince(sinceMs: number, role: AgentRole = 'host'): readonly EnrolledHost[] {
    return this.#database
      .prepare('SELECT * FROM hosts WHERE revoked_at_ms IS NULL AND seen_at_ms >= ? AND role = ?')
      .all(sinceMs, role)
      .map((row) => HostRow.parse(row));
  }

  markSeen(hostId: HostId, nowMs: number): void {
    this.#run('UPDATE hosts SET seen_at_ms = ? WHERE host_id = ?', nowMs, hostId);
  }

  /** Idempotent; false when there is no such host. */
  revoke(hostId: HostId, nowMs: number): boolean {
    const sql = 'UPDATE hosts SET revoked_at_ms = COALESCE(revoked_at_ms, ?) WHERE host_id = ?';
    return this.#run(sql, nowMs, hostId) > 0;
  }

  #record(
    secret: string,
    host: NewHost & {
      readonly machineId: string | undefined;
      readonly role: AgentRole;
      readonly nowMs: number;
    },
  ): void {
    const { hostId, hostname, machineId, fingerprint, role, nowMs } = host;
    this.#run(
      'UPDATE tokens SET used_at_ms = ? WHERE lookup = ?',
      nowMs,
      lookupKey(hashSecret(secret)),
    );
    this.#run(
      'INSERT INTO hosts VALUES (?, ?, ?, ?, ?, ?, NULL, ?)',
      hostId,
      hostname,
      machineId ?? null,
      fingerprint,
      nowMs,
      nowMs,
      role,
    );
  }

  #addRole(table: 'tokens' | 'hosts'): void {
    const columns = this.#database.prepare(`PRAGMA table_info(${table})`).all();
    if (columns.some(({ name }) => name === 'role')) return;
    this.#database.exec(`ALTER TABLE ${table} ${ROLE_COLUMN}`);
  }

  #run(sql: string, ...values: (string | number | null | Uint8Array)[]): number {
    return Number(this.#database.prepare(sql).run(...values).changes);
  }
}

/** Readable and unique: what the machine calls itself, cut to a label, and random hexadecimals. */
export function chooseHostId(name: string, randomHex: string): HostId {
  const label = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 40)
    .replace(/-+$/, '');
  return HostId.parse(`${label === '' ? 'host' : label}-${randomHex}`);
}

function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** The index sees half of the hash; the other half is only ever compared in constant time. */
function lookupKey(hash: Buffer): string {
  return hash.subarray(0, 16).toString('hex');
}
