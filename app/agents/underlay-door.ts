/** `POST /underlay`, of an enrolled host or gateway. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { UnderlayAsk } from '../../host-agent/protocol/underlay.ts';
import type { EnrolledHost } from './enrolment.ts';
import { readJsonBody } from './read-json-body.ts';
import type { UnderlayDesk } from './underlay-desk.ts';

/** Always answers, unless the asking agent is gone. */
export async function answerUnderlay(call: {
  readonly desk: Pick<UnderlayDesk, 'answer'>;
  readonly caller: EnrolledHost;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}): Promise<void> {
  const { desk, caller, request, response } = call;
  const ask = UnderlayAsk.safeParse(await readJsonBody(request));
  if (!ask.success) {
    refuse(response, 400, 'This is no question about the underlay.');
    return;
  }
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const answer = await desk.answer(caller, ask.data, gone.signal);
  if (answer === undefined) {
    refuse(response, 503, 'network.wireguard.range has no address left: make it larger.');
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer));
}

function refuse(response: ServerResponse, status: number, title: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' });
  response.end(JSON.stringify({ title, status }));
}
