/**
 * The CLI's only door to the control plane: the REST API, on the fleet's unix socket unless
 * ARCHITECT_API_URL names another. Needs none of the control plane's secrets.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent, request as httpRequest } from 'undici';
import { z } from 'zod';
import { API_PREFIX } from '../api/routes.ts';
import { Problem } from '../api/views.ts';
import { readSettings } from '../settings/read-settings.ts';
import { Settings } from '../settings/settings.ts';
import { CliError } from './cli-error.ts';

const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** Of the control plane's own settings no more than what leads to its socket. */
const Whereabouts = z.object({ home: Settings.shape.home, fleet: Settings.shape.fleet });

const Environment = z.object({
  ARCHITECT_API_URL: z.url({ protocol: /^https?$/ }).optional(),
  ARCHITECT_API_TOKEN_FILE: z.string().startsWith('/').optional(),
});

export interface ApiAddress {
  readonly url: string;
  readonly socketPath: string | undefined;
  readonly tokenFile: string;
}

export interface ApiCall<Answer extends z.ZodType> {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below API_PREFIX. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: Readonly<Record<string, unknown>>;
  readonly answer: Answer;
}

/** Where the API is. Throws CliError or ConfigError naming the variable or setting that is wrong. */
export function findApi(environment: NodeJS.ProcessEnv): ApiAddress {
  const parsed = Environment.safeParse(environment);
  if (!parsed.success) {
    const names = parsed.error.issues.map((issue) => issue.path.join('.')).join(', ');
    throw new CliError(
      `Not usable in the environment: ${names}. See "Configuration" in README.md.`,
    );
  }
  const env = parsed.data;
  const { home, fleet } = readSettings(Whereabouts, environment);
  const dataDir = join(home, 'fleets', fleet);
  const url = env.ARCHITECT_API_URL?.replace(/\/+$/, '');
  return {
    url: url ?? 'http://architect',
    socketPath: url === undefined ? join(dataDir, 'api.sock') : undefined,
    tokenFile: env.ARCHITECT_API_TOKEN_FILE ?? join(dataDir, 'api-token'),
  };
}

/** The checked answer. Throws CliError with what the API said, or that nobody answers. */
export async function callApi<Answer extends z.ZodType>(
  address: ApiAddress,
  call: ApiCall<Answer>,
): Promise<z.output<Answer>> {
  const token = await readToken(address);
  const { status, text } = await send(address, call, token);
  const body = parseJson(text);
  if (status >= 400) {
    const told = Problem.safeParse(body).data?.detail;
    throw new CliError(told ?? `The control plane answered ${status}. Its log says why.`);
  }
  const parsed = call.answer.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new CliError(
    'The control plane answered in a form this CLI does not know. Use the same version of both.',
    { cause: parsed.error },
  );
}

async function send(
  address: ApiAddress,
  call: ApiCall<z.ZodType>,
  token: string,
): Promise<{ readonly status: number; readonly text: string }> {
  const { socketPath } = address;
  const dispatcher = new Agent({
    maxResponseSize: MAX_ANSWER_BYTES,
    ...(socketPath === undefined ? {} : { connect: { socketPath } }),
  });
  try {
    const query = new URLSearchParams(call.query).toString();
    const url = `${address.url}${API_PREFIX}${call.path}${query === '' ? '' : `?${query}`}`;
    const { statusCode, body } = await httpRequest(url, {
      dispatcher,
      method: call.method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { status: statusCode, text: await body.text() };
  } catch (cause) {
    throw notRunning(address, cause);
  } finally {
    await dispatcher.destroy();
  }
}

async function readToken(address: ApiAddress): Promise<string> {
  try {
    return (await readFile(address.tokenFile, 'utf8')).trim();
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw notRunning(address, cause);
    }
    throw new CliError(
      `Cannot read the API's token ${address.tokenFile}. Run this as the user that runs architect.`,
      { cause },
    );
  }
}

function notRunning({ url, socketPath }: ApiAddress, cause: unknown): CliError {
  return new CliError(
    `The control plane does not answer on ${socketPath ?? url}. Start it with: architect start ` +
      '(or set ARCHITECT_FLEET, ARCHITECT_HOME or ARCHITECT_API_URL to the one that runs).',
    { cause },
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
