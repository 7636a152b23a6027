/**
 * A standby's ear: follows the acting gateway's flows into this kernel, and says at each change whether
 * the acting gateway is heard (`ActiveWord`).
 *
 *   dial ──▶ heard: a line, be it empty │ silent: none for SILENCE_MS, or nobody answers
 *    ▲                                  │ away: refused, or closed by the other side
 *    └────────── a moment later ────────┘
 *
 * Whatever it hears or not, it takes nothing over: that is the control plane's to say.
 */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isCertificateOf, type PeerIdentity, peerTlsOf } from '../migration/peer/peer-tls.ts';
import type { FlowTable } from '../net/switch-backend.ts';
import { type ActiveWord, FlowLine } from '../protocol/gateway-messages.ts';
import type { FlipEndpoint } from '../protocol/migration-messages.ts';
import { BEAT_MS } from './flow-feed.ts';
import { wordOfFailure } from './hearing.ts';

const SILENCE_MS = 4 * BEAT_MS;
const REDIAL_MS = 200;
/** A full line is about 120 kB. */
const MAX_LINE_CHARACTERS = 1024 * 1024;

export interface FollowerParts {
  readonly active: FlipEndpoint;
  readonly identity: PeerIdentity;
  readonly table: FlowTable | undefined;
  readonly onWord: (word: ActiveWord) => void;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Resolves when the signal has come; flows are written no more then. */
export async function followFlows(parts: FollowerParts): Promise<void> {
  const { signal, logger, onWord } = parts;
  let last: ActiveWord | undefined;
  const say = (word: ActiveWord) => {
    if (word === last || signal.aborted) return;
    last = word;
    logger.info({ word, active: parts.active.gatewayId }, 'the acting gateway');
    onWord(word);
  };
  while (!signal.aborted) {
    say(await listenOnce(parts, () => say('heard')));
    await sleep(REDIAL_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** One connection, from dialling to its end, and how it ended. */
async function listenOnce(parts: FollowerParts, onLine: () => void): Promise<ActiveWord> {
  const end = new AbortController();
  const stop = () => end.abort();
  parts.signal.addEventListener('abort', stop);
  let isSilent = false;
  const silence = setTimeout(() => {
    isSilent = true;
    stop();
  }, SILENCE_MS);
  try {
    const answer = await dial(parts, end.signal);
    // It answers, if not with flows: it may not know yet that this one stands by.
    if (answer.statusCode !== 200) return 'heard';
    await readLines(answer, (line) => {
      silence.refresh();
      onLine();
      for (const flow of FlowLine.parse(JSON.parse(line)).flows) parts.table?.put(flow);
    });
    return isSilent ? 'silent' : 'away';
  } catch (err) {
    if (isSilent) return 'silent';
    if (!parts.signal.aborted) parts.logger.debug({ err }, 'the connection ended');
    return wordOfFailure(err);
  } finally {
    clearTimeout(silence);
    parts.signal.removeEventListener('abort', stop);
    stop();
  }
}

async function dial(parts: FollowerParts, signal: AbortSignal): Promise<IncomingMessage> {
  const { active, identity } = parts;
  return await new Promise((resolve, reject) => {
    const asked = request(
      {
        ...peerTlsOf(identity),
        ...{ host: active.host, port: active.port, path: '/flows', method: 'GET', signal },
        agent: false,
        checkServerIdentity: (_name, certificate) =>
          isCertificateOf(certificate, active.gatewayId)
            ? undefined
            : new Error(`Whoever answered is not gateway ${active.gatewayId}.`),
      },
      resolve,
    );
    asked.on('error', reject);
    asked.end();
  });
}

/** Resolves when the other side has ended it; rejects when it broke. */
async function readLines(answer: IncomingMessage, take: (line: string) => void): Promise<void> {
  let rest = '';
  for await (const chunk of answer.setEncoding('utf8')) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_CHARACTERS) throw new Error('A line has no end.');
    for (const line of lines) take(line);
  }
}
