/**
 * Where GitHub sends the App's webhooks. Source: docs.github.com, "REST API endpoints for GitHub App
 * webhooks".
 */
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import type { AppConfig } from '../config.ts';
import { toGithubError } from './errors.ts';

const TIMEOUT_MS = 15_000;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

/** For an App that GitHub registered without a secret of its own. Throws a GithubError. */
export async function setWebhookSecret(
  { apiUrl: baseUrl, ...auth }: Pick<AppConfig, 'apiUrl' | 'appId' | 'privateKey'>,
  secret: string,
): Promise<void> {
  const octokit = new Octokit({ baseUrl, authStrategy: createAppAuth, auth, log: QUIET });
  try {
    const request = { signal: AbortSignal.timeout(TIMEOUT_MS) };
    await octokit.rest.apps.updateWebhookConfigForApp({ secret, request });
  } catch (error) {
    throw toGithubError(error, "set the secret of the App's webhook", Date.now());
  }
}
