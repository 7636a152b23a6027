/** What GitHub's own log of deliveries says of the webhook's way here. Pure. */
import { WEBHOOK_PATH } from '../../intake/webhooks.ts';
import { type Finding, failed, fine, warning } from './finding.ts';

export interface SeenDelivery {
  readonly id: number;
  readonly guid: string;
  readonly event: string;
  /** 0 where there was no answer. */
  readonly statusCode: number;
}

/** `latest` is the newest attempt of all; undefined: the log is empty. */
export function judgeWebhooks(url: string | undefined, latest: SeenDelivery | undefined): Finding {
  const wrongUrl = judgeUrl(url);
  if (wrongUrl !== undefined) return wrongUrl;
  if (latest === undefined) {
    return warning(
      'webhooks',
      `GitHub has not delivered anything to ${url} yet.`,
      'Queue a job, or install the App somewhere, and look again.',
    );
  }
  const { statusCode, event } = latest;
  if (statusCode >= 200 && statusCode < 300)
    return fine('webhooks', `GitHub reaches ${url}: its last delivery was taken.`);
  const what = `GitHub's last delivery (${event}) to ${url}`;
  if (statusCode === 400 || statusCode === 401)
    return failed(
      'webhooks',
      `${what} was refused (${statusCode}): it is signed with another secret.`,
      "Give the App's webhook the secret in its webhookSecretFile, on the App's page, or the file the App's.",
    );
  if (statusCode === 404 || statusCode === 405)
    return failed(
      'webhooks',
      `${what} was answered ${statusCode}: something else listens there.`,
      `Let your TLS proxy hand ${WEBHOOK_PATH} to the address in listen.`,
    );
  return failed(
    'webhooks',
    `${what} failed (${statusCode === 0 ? 'no answer' : statusCode}): nothing answers there.`,
    'Start architect, and check DNS, certificate, proxy and firewall: GitHub has to reach that URL from outside.',
  );
}

function judgeUrl(url: string | undefined): Finding | undefined {
  const fix = `Set it on the App's page to https://YOUR-HOST${WEBHOOK_PATH}, and switch the webhook on.`;
  if (url === undefined || url === '')
    return failed('webhooks', 'The App has no webhook URL: jobs are found by the poll alone.', fix);
  if (new URL(url).pathname.replace(/\/+$/, '') === WEBHOOK_PATH) return undefined;
  return failed('webhooks', `The App's webhook URL ${url} does not end in ${WEBHOOK_PATH}.`, fix);
}
