/** `POST /underlay`: what this node's tunnel packets travel on, and its peers there. */
import { type Agent, request as httpRequest } from 'undici';
import { UNDERLAY_WAIT_MS, UnderlayAnswer, type UnderlayAsk } from '../protocol/underlay.ts';
import { ControlPlaneUnreachableError } from './control-errors.ts';

/** For what the network adds to the control plane's own waiting. */
const MARGIN_MS = 10_000;

/** Rejects with ControlPlaneUnreachableError; asking again is harmless. */
export async function askUnderlay(question: {
  readonly url: string;
  readonly dispatcher: Agent;
  readonly ask: UnderlayAsk;
  readonly signal: AbortSignal;
}): Promise<UnderlayAnswer> {
  const { url, dispatcher, ask, signal } = question;
  const limit = AbortSignal.timeout(UNDERLAY_WAIT_MS + MARGIN_MS);
  try {
    const { statusCode, body } = await httpRequest(`${url}/underlay`, {
      dispatcher,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(ask),
      signal: AbortSignal.any([signal, limit]),
    });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`status ${statusCode}`);
    return UnderlayAnswer.parse(JSON.parse(text));
  } catch (cause) {
    throw new ControlPlaneUnreachableError(`${url} did not say what carries the tunnel.`, {
      cause,
    });
  }
}
