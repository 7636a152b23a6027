/** What GitHub says of the App, its installations and its clock, against what is needed. Pure. */
import {
  type Features,
  missingPermissions,
  permissionsFor,
  SUBSCRIBED_EVENTS,
} from '../../github/permissions.ts';
import { type Finding, failed, fine, warning } from './finding.ts';

/** GitHub refuses an App's token that seems to be from the future by a minute. */
const MAX_SKEW_MS = 30_000;

export interface SeenInstallation {
  readonly id: number;
  readonly account: string;
  readonly organization: boolean;
  readonly suspended: boolean;
  readonly permissions: Readonly<Record<string, string>>;
  readonly pageUrl: string;
}

export interface SeenApp {
  readonly slug: string;
  readonly pageUrl: string;
  readonly permissions: Readonly<Record<string, string>>;
  readonly events: readonly string[];
  readonly installations: readonly SeenInstallation[];
}

/** Positive: our clock is ahead of GitHub's. */
export function judgeClock(aheadMs: number): Finding {
  const seconds = Math.round(Math.abs(aheadMs) / 1_000);
  if (Math.abs(aheadMs) <= MAX_SKEW_MS)
    return fine('clock', `It agrees with GitHub's to ${Math.max(1, seconds)} s.`);
  const how = aheadMs > 0 ? 'ahead of' : 'behind';
  return failed(
    'clock',
    `This machine's clock is ${seconds} s ${how} GitHub's, which refuses such tokens.`,
    'Set it by NTP: timedatectl set-ntp true (or install chrony).',
  );
}

export function judgeApp(
  app: SeenApp,
  switchedOn: Omit<Features, 'userRepositories'>,
): readonly Finding[] {
  const userRepositories = app.installations.some(({ organization }) => !organization);
  const needed = permissionsFor({ ...switchedOn, userRepositories });
  const lacking = missingPermissions(needed, app.permissions);
  return [
    lacking.length === 0
      ? fine('permissions', `The App ${app.slug} may do what it has to.`)
      : failed(
          'permissions',
          `The App ${app.slug} lacks ${lacking.join(', ')}.`,
          `Grant that under "Permissions & events" of ${app.pageUrl}, then accept it where the App is installed.`,
        ),
    judgeEvents(app),
    ...judgeExcess(app, needed),
    ...(app.installations.length === 0 ? [notInstalled(app)] : []),
    ...app.installations.map((one) => judgeInstallation(one, { needed, lacking })),
  ];
}

function judgeEvents({ events, pageUrl }: SeenApp): Finding {
  const missing = SUBSCRIBED_EVENTS.filter((event) => !events.includes(event));
  if (missing.length === 0)
    return fine('events', `The App hears of ${SUBSCRIBED_EVENTS.join(', ')}.`);
  return failed(
    'events',
    `The App does not subscribe to ${missing.join(', ')}: jobs are found by the poll alone.`,
    `Subscribe to it under "Permissions & events" of ${pageUrl}.`,
  );
}

/** Checks are asked for by whoever wants them; anything else beyond the need is a risk for nothing. */
function judgeExcess(
  { permissions, pageUrl }: SeenApp,
  needed: Readonly<Record<string, string>>,
): readonly Finding[] {
  const more = Object.entries(permissions)
    .filter(([name]) => name !== 'checks')
    .filter(
      ([name, access]) =>
        needed[name] === undefined || (access === 'write' && needed[name] === 'read'),
    )
    .map(([name, access]) => `${name}: ${access}`);
  if (more.length === 0) return [];
  const what = `The App may more than what is switched on needs: ${more.join(', ')}.`;
  return [warning('permissions', what, `Take it away on ${pageUrl}, unless you mean to use it.`)];
}

function notInstalled({ slug, pageUrl }: SeenApp): Finding {
  return failed(
    'installation',
    `The App ${slug} is installed nowhere, so no job is heard of.`,
    `Install it: ${pageUrl}/installations/new`,
  );
}

function judgeInstallation(
  { account, suspended, permissions, pageUrl }: SeenInstallation,
  {
    needed,
    lacking,
  }: {
    readonly needed: Readonly<Record<string, 'read' | 'write'>>;
    readonly lacking: readonly string[];
  },
): Finding {
  if (suspended) {
    const what = `${account} has suspended the App: its jobs are not served.`;
    return failed('installation', what, `Lift the suspension on ${pageUrl}.`);
  }
  const missing = missingPermissions(needed, permissions).filter((one) => !lacking.includes(one));
  if (missing.length === 0) return fine('installation', `The App is installed in ${account}.`);
  return failed(
    'installation',
    `${account} has not accepted ${missing.join(', ')}.`,
    `An owner of ${account} accepts it on ${pageUrl}.`,
  );
}
