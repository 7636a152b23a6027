/**
 * The local page of the guided install: it posts the manifest to GitHub from the operator's browser
 * and takes the code that GitHub sends the browser back with. Its path is a secret of this run, so
 * that no other page in that browser can register an App in our name or hand us a code of its own.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { whyNotListening } from '../../listen-trouble.ts';
import type { Address } from '../../settings/settings.ts';
import { CliError } from '../cli-error.ts';

const STATE_BYTES = 24;
const MAX_CODE = 200;

export interface RegistrationPage {
  /** For the operator's browser. */
  readonly url: string;
  readonly redirectUrl: string;
  readonly state: string;
  close(): Promise<void>;
}

export interface RegistrationSteps {
  /** The form's target and content. */
  readonly form: (page: Pick<RegistrationPage, 'redirectUrl' | 'state'>) => {
    readonly action: string;
    readonly manifest: unknown;
  };
  /** Where the browser goes next. Rejections are shown in the browser. */
  readonly onCode: (code: string) => Promise<string>;
}

/** Throws CliError when the port cannot be had. */
export async function openRegistrationPage(
  listen: Address,
  { form, onCode }: RegistrationSteps,
): Promise<RegistrationPage> {
  const state = randomBytes(STATE_BYTES).toString('base64url');
  const server = createServer((request, response) => void answer(request, response));
  const port = await open(server, listen);
  const base = `http://${listen.host}:${port}`;
  const redirectUrl = `${base}/registered`;
  let used = false;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', base);
    if (url.pathname === `/${state}`)
      return html(response, 200, formPage(form({ redirectUrl, state })));
    const code = url.searchParams.get('code') ?? '';
    const told = url.searchParams.get('state') ?? '';
    if (
      url.pathname !== '/registered' ||
      code === '' ||
      code.length > MAX_CODE ||
      !same(told, state)
    )
      return html(
        response,
        404,
        'This is not the page. Open the address that architect setup printed.',
      );
    if (used) return html(response, 409, 'This answer was taken already. See the terminal.');
    used = true;
    try {
      response.writeHead(302, { location: await onCode(code) }).end();
    } catch (error) {
      html(response, 502, error instanceof Error ? error.message : 'It failed. See the terminal.');
    }
  }

  const close = async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    await closed;
  };
  return { url: `${base}/${state}`, redirectUrl, state, close };
}

function open(server: Server, { host, port }: Address): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once('error', (cause) => {
    reject(
      new CliError(
        `Cannot listen on ${host}:${port}: ${whyNotListening(cause)}. Name another by --page-listen.`,
        { cause },
      ),
    );
  });
  server.listen({ host, port }, () => {
    const address = server.address();
    resolve(typeof address === 'object' && address !== null ? address.port : port);
  });
  return promise;
}

function formPage({ action, manifest }: { readonly action: string; readonly manifest: unknown }) {
  const value = asHtml(JSON.stringify(manifest));
  return `<form method="post" action="${asHtml(action)}"><input type="hidden" name="manifest" value="${value}">
<button>Register the App on GitHub</button></form><script>document.forms[0].submit()</script>`;
}

function html(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    connection: 'close',
  });
  const text = body.startsWith('<form') ? body : asHtml(body);
  response.end(`<!doctype html><meta charset="utf-8"><title>architect setup</title>${text}\n`);
}

function asHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return text.replaceAll(/[&<>"]/g, (letter) => entities[letter] ?? letter);
}

function same(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
