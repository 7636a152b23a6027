/** Tells a simulated host's metadata service which notices to give, as the cloud would. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { LocalCommandError } from './local-errors.ts';
import type { Notices } from './metadata-answers.ts';

const CONTROL_TIMEOUT_MS = 5_000;

/** Replaces both notices. Throws LocalCommandError when the service does not take them. */
export async function sendNotices(socketPath: string, notices: Notices): Promise<void> {
  const signal = AbortSignal.timeout(CONTROL_TIMEOUT_MS);
  const call = request({ socketPath, path: '/notices', method: 'PUT', signal });
  call.end(JSON.stringify(notices));
  const [response]: IncomingMessage[] = await once(call, 'response', { signal });
  response?.resume();
  if (response?.statusCode === 204) return;
  throw new LocalCommandError(`The metadata service at ${socketPath} did not take the notice.`);
}
