/**
 * Asks the guest API of the VM that this runs in. What is answered by no one, or by "later", is asked
 * again: the VM may be on its way to another host, whose agent answers then. Every question may be.
 */
import { request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { GUEST_API_ADDRESS, GUEST_API_PORT } from '../../host-agent/protocol/guest-api-address.ts';

/** What the answer holds that the action uses (GuestView of host-agent/protocol/guest-api.ts). */
export interface VmView {
  readonly class: string;
  readonly cpuModel: string | null;
  readonly pricePerHourUsd: number | null;
  readonly moves: number;
  readonly held: boolean;
  readonly movesWhileHeld: number;
  readonly resize: VmResize | null;
}

export interface VmResize {
  readonly state: 'wanted' | 'done' | 'refused';
  readonly why: string;
}

export interface GuestQuestion {
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  readonly body?: object;
  /** How long it is asked again. */
  readonly limitMs: number;
}

export type GuestReply =
  | { readonly kind: 'ok'; readonly view: VmView }
  | { readonly kind: 'refused'; readonly why: string };

export type Ask = (question: GuestQuestion) => Promise<GuestReply>;

/** Longer than the host-agent takes for any answer. */
const TRY_LIMIT_MS = 8_000;
const PAUSE_MS = 1_000;
/** A silent connection is asked about after so long, and a moved VM's is reset then. */
const KEEP_ALIVE_MS = 1_000;
const MAX_ANSWER_BYTES = 16 * 1024;

interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

/** The API of this VM. Never rejects. */
export function openGuestClient(
  base = `http://${GUEST_API_ADDRESS}:${GUEST_API_PORT}`,
  pauseMs = PAUSE_MS,
): Ask {
  return async (question) => {
    const endMs = performance.now() + question.limitMs;
    for (;;) {
      const tried = await tryOnce(base, question);
      if (tried.kind !== 'again') return tried;
      if (performance.now() + pauseMs >= endMs) return { kind: 'refused', why: tried.why };
      await sleep(pauseMs);
    }
  };
}

async function tryOnce(
  base: string,
  question: GuestQuestion,
): Promise<GuestReply | { readonly kind: 'again'; readonly why: string }> {
  try {
    const { status, text } = await exchange(base, question);
    if (status === 503 || status === 429) return { kind: 'again', why: whyOf(text) };
    if (status !== 200) return { kind: 'refused', why: whyOf(text) };
    const view = parseView(text);
    if (view !== undefined) return { kind: 'ok', view };
    return { kind: 'refused', why: 'The guest API gave an answer that is none.' };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { kind: 'again', why: `The guest API does not answer (${why}).` };
  }
}

function exchange(base: string, { method, path, body }: GuestQuestion): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = {
    'Content-Length': Buffer.byteLength(text),
    ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
  };
  const signal = AbortSignal.timeout(TRY_LIMIT_MS);
  const sent = httpRequest(`${base}${path}`, { method, headers, signal, agent: false });
  sent.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
  sent.on('error', reject);
  sent.on('response', (response) => {
    let read = '';
    response.setEncoding('utf8');
    response.on('data', (part) => {
      read += String(part);
      if (read.length > MAX_ANSWER_BYTES) response.destroy(new Error('too long an answer'));
    });
    response.on('error', reject);
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text: read }));
  });
  sent.end(text);
  return promise;
}

function parseView(text: string): VmView | undefined {
  const value = readJson(text);
  const { class: size, cpuModel, pricePerHourUsd, moves, held, movesWhileHeld } = value;
  if (typeof size !== 'string' || typeof held !== 'boolean') return undefined;
  if (typeof moves !== 'number' || typeof movesWhileHeld !== 'number') return undefined;
  return {
    class: size,
    cpuModel: typeof cpuModel === 'string' ? cpuModel : null,
    pricePerHourUsd: typeof pricePerHourUsd === 'number' ? pricePerHourUsd : null,
    moves,
    held,
    movesWhileHeld,
    resize: parseResize(value.resize),
  };
}

function parseResize(value: unknown): VmResize | null {
  if (typeof value !== 'object' || value === null) return null;
  const { state, why }: Readonly<Record<string, unknown>> = { ...value };
  if (state !== 'wanted' && state !== 'done' && state !== 'refused') return null;
  return { state, why: typeof why === 'string' ? why : '' };
}

function whyOf(text: string): string {
  const { error } = readJson(text);
  return typeof error === 'string' ? error : 'The guest API refused without saying why.';
}

function readJson(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
