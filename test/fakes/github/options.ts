/** What a simulated GitHub is started with. Durations are GitHub's own unless a test shortens them. */
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

export type Access = 'read' | 'write';
export type Permissions = Readonly<Record<string, Access>>;

export interface Durations {
  readonly tokenMs: number;
  /** A job's lock, and how often its runner is told to renew it. */
  readonly lockMs: number;
  readonly lockRenewMs: number;
  readonly longPollMs: number;
  /** A job offered to a runner that does not acquire it goes to another after this. */
  readonly offerMs: number;
  /** A JIT runner that is offline and without a job is removed after this. */
  readonly unusedJitMs: number;
  /** An idle runner without a poll counts as offline after this. */
  readonly offlineMs: number;
  readonly queuedJobMs: number;
  /** After a cancel message a runner has this long to report before the job is ended anyway. */
  readonly cancelMs: number;
  readonly webhookTimeoutMs: number;
  /** The windows in which requests, points and registrations are counted. */
  readonly requestWindowMs: number;
  readonly pointWindowMs: number;
  readonly registrationWindowMs: number;
  /** Deliveries older than this are forgotten. */
  readonly deliveryLogMs: number;
}

export interface Limits {
  readonly requestsPerHour: number;
  /** The secondary limit, per app: 1 point for a read, 5 for anything else. */
  readonly pointsPerMinute: number;
  readonly registrationsPer5Minutes: number;
}

/** An enterprise, and the one personal access token of an owner of it. */
export interface Enterprise {
  readonly slug: string;
  readonly token: string;
  readonly scopes: readonly string[];
  /** Logins of its organisations. */
  readonly organizations: readonly string[];
  /** Logins of those that may use its runners; unset: all of them. */
  readonly chosen?: readonly string[];
}

export interface AppOptions {
  readonly appId: number;
  readonly appPublicKey: string;
  readonly webhookSecret: string;
}

export interface Options extends AppOptions {
  /** Apps beside that one, with the same permissions and webhook address. */
  readonly furtherApps: readonly AppOptions[];
  readonly enterprise: Enterprise | undefined;
  readonly host: string;
  readonly port: number;
  /** Where the REST API begins: empty, or `/api/v3` as on an Enterprise Server. */
  readonly restPath: string;
  readonly webhookUrl: string | undefined;
  /** For `/_sim`; every request there must bear it. */
  readonly controlToken: string;
  readonly permissions: Permissions;
  readonly durations: Durations;
  readonly limits: Limits;
  /** Decides which of several fitting runners gets a job. */
  readonly seed: number;
  /** How far its clock is ahead, where it judges the App's and tells the time. */
  readonly clockAheadMs: number;
}

export type GivenOptions = Partial<Omit<Options, 'durations' | 'limits'>> &
  Pick<Options, 'appId' | 'appPublicKey' | 'webhookSecret' | 'controlToken'> & {
    readonly durations?: Partial<Durations>;
    readonly limits?: Partial<Limits>;
  };

export const MINIMUM_PERMISSIONS: Permissions = {
  organization_self_hosted_runners: 'write',
  actions: 'read',
  metadata: 'read',
};

const DURATIONS: Durations = {
  tokenMs: HOUR_MS,
  lockMs: 10 * MINUTE_MS,
  lockRenewMs: MINUTE_MS,
  longPollMs: 50 * SECOND_MS,
  offerMs: MINUTE_MS,
  unusedJitMs: 3 * MINUTE_MS,
  offlineMs: MINUTE_MS,
  queuedJobMs: 24 * HOUR_MS,
  cancelMs: 5 * MINUTE_MS,
  webhookTimeoutMs: 10 * SECOND_MS,
  requestWindowMs: HOUR_MS,
  pointWindowMs: MINUTE_MS,
  registrationWindowMs: 5 * MINUTE_MS,
  deliveryLogMs: 72 * HOUR_MS,
};

const LIMITS: Limits = {
  requestsPerHour: 12_500,
  pointsPerMinute: 900,
  registrationsPer5Minutes: 1_500,
};

export function withDefaults(given: GivenOptions): Options {
  return {
    host: '127.0.0.1',
    port: 0,
    restPath: '',
    webhookUrl: undefined,
    enterprise: undefined,
    furtherApps: [],
    permissions: MINIMUM_PERMISSIONS,
    seed: 1,
    clockAheadMs: 0,
    ...given,
    durations: { ...DURATIONS, ...given.durations },
    limits: { ...LIMITS, ...given.limits },
  };
}
