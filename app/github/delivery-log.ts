/**
 * The App's log of webhook deliveries, newest first, and sending one of them again.
 * Source: docs.github.com, "REST API endpoints for GitHub App webhooks".
 */
import { z } from 'zod';
import type { AppClient } from './client.ts';
import { GithubDeniedError } from './errors.ts';
import type { Listed } from './survey.ts';

const PER_PAGE = 100;
const MAX_PAGES = 50;
const NOT_FOUND = 404;

const LoggedDelivery = z.object({
  id: z.int(),
  guid: z.string().max(100),
  delivered_at: z.iso.datetime({ offset: true }).transform((text) => Date.parse(text)),
  status_code: z.int(),
  event: z.string().max(100),
});
const Page = z.array(LoggedDelivery);

/** One attempt to deliver an event; attempts of the same event share its `guid`. */
export interface DeliveryAttempt {
  readonly id: number;
  readonly guid: string;
  readonly atMs: number;
  readonly delivered: boolean;
  readonly event: string;
}

/**
 * Attempts since `sinceMs`, newest first; not complete when there are more than MAX_PAGES hold, or
 * than GitHub's limits leave room for now.
 */
export function listDeliveries(
  client: AppClient,
  sinceMs: number,
): Promise<Listed<DeliveryAttempt>> {
  return client.asApp({
    what: "read the App's log of deliveries",
    run: async (octokit) => {
      const items: DeliveryAttempt[] = [];
      let cursor: string | undefined;
      for (let page = 0; page < MAX_PAGES && client.mayUseLog('read'); page += 1) {
        const at = cursor === undefined ? {} : { cursor };
        const answer = await octokit.rest.apps.listWebhookDeliveries({ per_page: PER_PAGE, ...at });
        const attempts = Page.parse(answer.data).map(attemptOf);
        items.push(...attempts.filter(({ atMs }) => atMs >= sinceMs));
        cursor = cursorOf(answer.headers.link);
        const reachesBack = attempts.some(({ atMs }) => atMs < sinceMs);
        if (cursor === undefined || reachesBack) return { items, complete: true };
      }
      return { items, complete: false };
    },
  });
}

/** A delivery that the log does not hold any more is passed over. */
export async function redeliver(client: AppClient, id: number): Promise<void> {
  try {
    await client.asApp({
      what: `have delivery ${id} sent again`,
      run: (octokit) => octokit.rest.apps.redeliverWebhookDelivery({ delivery_id: id }),
    });
  } catch (error) {
    if (!(error instanceof GithubDeniedError && error.status === NOT_FOUND)) throw error;
  }
}

function attemptOf(given: z.infer<typeof LoggedDelivery>): DeliveryAttempt {
  const { id, guid, event, delivered_at: atMs, status_code: status } = given;
  return { id, guid, event, atMs, delivered: status >= 200 && status < 300 };
}

function cursorOf(link: string | undefined): string | undefined {
  const next = link?.split(',').find((part) => part.includes('rel="next"'));
  return next?.match(/[?&]cursor=([^&>]+)/)?.[1];
}
