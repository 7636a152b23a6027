/**
 * Registering the GitHub App by the manifest flow: what the browser posts to GitHub, and the
 * exchange of the code that comes back for the App's number, key and webhook secret.
 *
 *   form with the manifest ──▶ GitHub's page, one click ──▶ redirect_url?code=…&state=… ──▶ conversion
 *
 * Source: docs.github.com, "Registering a GitHub App from a manifest".
 */
import { z } from 'zod';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import { WEBHOOK_PATH } from '../intake/webhooks.ts';
import { type Features, permissionsFor, SUBSCRIBED_EVENTS } from './permissions.ts';

/** GitHub's own limit for the name of an App. */
export const MAX_APP_NAME = 34;
/** GitHub's own limit between the click and the exchange. */
export const CODE_LIFE_MS = 60 * 60_000;
const TIMEOUT_MS = 15_000;
const API_VERSION = '2022-11-28';

export class AppRegistrationError extends ArchitectError {
  readonly code = 'APP_REGISTRATION';
  readonly retry = 'never';
}

export interface WantedApp {
  readonly name: string;
  /** Where GitHub reaches the control plane: https://architect.example.com. */
  readonly publicUrl: string;
  readonly redirectUrl: string;
  readonly features: Features;
}

export function appManifest({ name, publicUrl, redirectUrl, features }: WantedApp) {
  const base = publicUrl.replace(/\/+$/, '');
  return {
    name,
    url: base,
    description: 'GitHub Actions runners in microVMs that move when a host is reclaimed',
    hook_attributes: { url: `${base}${WEBHOOK_PATH}`, active: true },
    redirect_url: redirectUrl,
    public: false,
    default_events: [...SUBSCRIBED_EVENTS],
    default_permissions: permissionsFor(features),
  };
}

/** The page that takes the manifest; without an organisation the App is the user's own. */
export function registrationUrl(given: {
  readonly webUrl: string;
  readonly organization: string | undefined;
  readonly state: string;
}): string {
  const { webUrl, organization, state } = given;
  const place =
    organization === undefined ? '' : `/organizations/${encodeURIComponent(organization)}`;
  const query = new URLSearchParams({ state });
  return `${webUrl.replace(/\/+$/, '')}${place}/settings/apps/new?${query}`;
}

/** Of the REST API that belongs to GitHub's pages at `webUrl`. */
export function apiUrlOf(webUrl: string): string {
  const { host, origin } = new URL(webUrl);
  if (host === 'github.com') return 'https://api.github.com';
  return host.endsWith('.ghe.com') ? `https://api.${host}` : `${origin}/api/v3`;
}

const Converted = z.object({
  id: z.int().positive(),
  slug: z.string().min(1).max(200),
  html_url: z.url({ protocol: /^https?$/ }),
  pem: z.string().includes('PRIVATE KEY'),
  webhook_secret: z.string().min(1).nullable(),
});

export interface NewApp {
  readonly appId: number;
  readonly slug: string;
  readonly pageUrl: string;
  readonly privateKey: string;
  /** Null: GitHub made none. */
  readonly webhookSecret: string | null;
}

/** The code is used up by this. Throws AppRegistrationError, which never holds it or a secret. */
export async function convertManifest(apiUrl: string, code: string): Promise<NewApp> {
  const answer = await post(`${apiUrl}/app-manifests/${encodeURIComponent(code)}/conversions`);
  if (answer.status === 404) {
    throw new AppRegistrationError(
      `${apiUrl} does not know the code: it is good once and for an hour. Run architect setup again.`,
    );
  }
  const parsed = Converted.safeParse(answer.body);
  if (answer.status !== 201 || !parsed.success) {
    throw new AppRegistrationError(
      `${apiUrl} answered ${answer.status} to the exchange of the code. ` +
        'If the App is on GitHub, delete it there; then run architect setup again.',
    );
  }
  const { id: appId, slug, html_url: pageUrl, pem: privateKey, webhook_secret } = parsed.data;
  return { appId, slug, pageUrl, privateKey, webhookSecret: webhook_secret };
}

async function post(url: string): Promise<{ readonly status: number; readonly body: unknown }> {
  try {
    const answer = await fetch(url, {
      method: 'POST',
      headers: {
        accept: 'application/vnd.github+json',
        'user-agent': 'architect',
        'x-github-api-version': API_VERSION,
      },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { status: answer.status, body: await answer.json() };
  } catch (cause) {
    const { origin } = new URL(url);
    throw new AppRegistrationError(
      `${origin} does not answer. Check the network and --github, then run architect setup again.`,
      { cause },
    );
  }
}
