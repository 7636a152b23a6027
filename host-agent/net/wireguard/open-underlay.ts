/**
 * What this node's tunnel packets travel on, as the control plane says: the network that is there, or
 * WireGuard over it. The last answer is on disk, so VMs of an earlier agent are found while the control
 * plane is away.
 *
 *   saved answer │ asked ──→ link made, switch opened on its address ──→ kept: asked for as long as the
 *   agent lives, each new answer's peers applied
 *
 * An agent does not change its own address: told of another one it ends, its supervisor (systemd)
 * starts it again, and the tunnel device of the old address goes.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { askUnderlay } from '../../control/ask-underlay.ts';
import { backOffMs } from '../../control/back-off.ts';
import { type Identity, readIdentity } from '../../control/identity.ts';
import { createDispatcher } from '../../control/tls.ts';
import { hostTag } from '../../host-tag.ts';
import { writeFileDurably } from '../../journal/durable-file.ts';
import { ArchitectError } from '../../protocol/errors.ts';
import { UnderlayAnswer, type UnderlayWord } from '../../protocol/underlay.ts';
import { tryIpBatch } from '../network-commands.ts';
import { TUNNEL_LINK } from '../tunnel.ts';
import { WIREGUARD_BYTES, wireguardLink } from './plan-wireguard.ts';
import { ensureWireguardKeys } from './wireguard-key.ts';
import { WireguardLink } from './wireguard-link.ts';

const ANSWER_FILE = 'underlay.json';
/** With a saved answer an agent does not wait longer for the control plane's. */
const FIRST_ASK_LIMIT_MS = 5_000;
/** So that a burst of changes is one. */
const PAUSE_MS = 100;

export class UnderlayChangedError extends ArchitectError {
  readonly code = 'UNDERLAY_CHANGED';
  readonly retry = 'later';
}

export interface Underlay {
  /** Where this node's tunnel packets come from and go to. */
  readonly address: string;
  /** Of what carries tunnel packets, in bytes. */
  readonly mtu: number;
  /** Prefixes that no guest may reach, CIDR. */
  readonly deny: readonly string[];
  /** Ends the agent: with the signal that was given, or because it has to start again. */
  readonly signal: AbortSignal;
}

export interface UnderlayParts {
  readonly agentDir: string;
  readonly fleet: string;
  /** Of the network between the hosts. */
  readonly underlayMtu: number;
  readonly identity: Identity;
  /** This node's, on that network. */
  readonly address: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

type Ask = (known: string | null, signal: AbortSignal) => Promise<UnderlayAnswer>;

/**
 * Runs `work` with the link there, and keeps that until `work` is over. The link outlives both. Rejects
 * with what `work` does, with UnderlayChangedError, and with WireguardError or NetworkCommandError where
 * the link cannot be made.
 */
export async function onUnderlay(
  parts: UnderlayParts,
  work: (underlay: Underlay) => Promise<void>,
): Promise<void> {
  const dispatcher = createDispatcher(parts.identity);
  const ending = new AbortController();
  const signal = AbortSignal.any([parts.signal, ending.signal]);
  try {
    const opened = await open(parts, dispatcher);
    const keeping = keep({ ...opened, parts, signal });
    keeping.catch(() => ending.abort());
    const { word } = opened.first;
    try {
      await work({ ...describe(word, parts), signal });
    } finally {
      ending.abort();
    }
    await keeping;
  } finally {
    await dispatcher.destroy();
  }
}

async function open(parts: UnderlayParts, dispatcher: ReturnType<typeof createDispatcher>) {
  const { agentDir, identity, address } = parts;
  const { privateKey, publicKey } = await ensureWireguardKeys(agentDir);
  const ask: Ask = (known, signal) =>
    askUnderlay({
      ...{ url: identity.url, dispatcher, signal },
      ask: { publicKey, endpoint: address, known },
    });
  const saved = await readSaved(agentDir);
  const first = await askFirst(ask, parts, saved);
  const link = openLink(parts, privateKey);
  await leaveOld(saved?.word, first.word, { address, link });
  if (first.word.kind === 'wireguard') await link.apply(first.word);
  await save(agentDir, first);
  return { ask, first, link };
}

function describe(word: UnderlayWord, { address, underlayMtu }: UnderlayParts) {
  if (word.kind === 'private') return { address, mtu: underlayMtu, deny: [] };
  return { address: word.address, mtu: underlayMtu - WIREGUARD_BYTES, deny: [word.range] };
}

/** For a node that leaves its fleet: the link, its process and its guard go. Idempotent. */
export async function removeUnderlay(
  parts: Pick<UnderlayParts, 'agentDir' | 'fleet' | 'underlayMtu' | 'logger'>,
): Promise<void> {
  const identity = await readIdentity(parts.agentDir);
  const saved = await readSaved(parts.agentDir);
  if (identity === undefined || saved?.word.kind !== 'wireguard') return;
  await openLink({ ...parts, identity }, '').remove();
}

function openLink(
  { agentDir, fleet, underlayMtu, identity, logger }: Omit<UnderlayParts, 'address' | 'signal'>,
  privateKey: string,
): WireguardLink {
  const link = wireguardLink(hostTag(identity.hostId));
  const mtu = underlayMtu - WIREGUARD_BYTES;
  return new WireguardLink({ agentDir, fleet, link, privateKey, mtu, logger });
}

async function askFirst(
  ask: Ask,
  { logger, signal }: UnderlayParts,
  saved: UnderlayAnswer | undefined,
): Promise<UnderlayAnswer> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ask(null, AbortSignal.any([signal, AbortSignal.timeout(FIRST_ASK_LIMIT_MS)]));
    } catch (err) {
      if (signal.aborted) throw err;
      logger.warn({ err, attempt }, 'not told what carries the tunnel');
      if (saved !== undefined) return saved;
      await sleep(backOffMs(attempt, Math.random()), undefined, { signal });
    }
  }
}

/** What an earlier agent made for another answer. */
async function leaveOld(
  before: UnderlayWord | undefined,
  now: UnderlayWord,
  { address, link }: { readonly address: string; readonly link: WireguardLink },
): Promise<void> {
  if (before?.kind === 'wireguard' && now.kind === 'private') await link.remove();
  const old = before === undefined ? address : addressIn(before, address);
  if (old !== addressIn(now, address)) await tryIpBatch(`link del ${TUNNEL_LINK}\n`);
}

async function keep(given: {
  readonly ask: Ask;
  readonly first: UnderlayAnswer;
  readonly link: WireguardLink;
  readonly parts: UnderlayParts;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { first, link, signal } = given;
  const following = follow(given);
  if (first.word.kind === 'wireguard') await Promise.all([following, link.tend(signal)]);
  else await following;
}

async function follow({
  ask,
  first,
  link,
  parts,
  signal,
}: Parameters<typeof keep>[0]): Promise<void> {
  const { agentDir, address, logger } = parts;
  let { version } = first;
  for (let attempt = 0; !signal.aborted; ) {
    try {
      const { version: latest, word } = await ask(version, signal);
      attempt = 0;
      if (latest !== version) {
        if (!isSameWay(first.word, word, address))
          throw new UnderlayChangedError(
            'The operator has changed what carries the tunnel (network.underlay): the agent starts again.',
          );
        if (word.kind === 'wireguard') await link.apply(word);
        await save(agentDir, { version: latest, word });
        version = latest;
      }
    } catch (error) {
      if (error instanceof UnderlayChangedError) throw error;
      if (signal.aborted) return;
      attempt += 1;
      logger.warn({ err: error, attempt }, 'the peers of the tunnel are as they were');
    }
    const pauseMs = attempt === 0 ? PAUSE_MS : backOffMs(attempt, Math.random());
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
  }
}

function isSameWay(before: UnderlayWord, now: UnderlayWord, address: string): boolean {
  const portOf = (word: UnderlayWord) => (word.kind === 'wireguard' ? word.port : undefined);
  const isSameAddress = addressIn(before, address) === addressIn(now, address);
  return isSameAddress && portOf(before) === portOf(now);
}

function addressIn(word: UnderlayWord, bare: string): string {
  return word.kind === 'wireguard' ? word.address : bare;
}

async function readSaved(agentDir: string): Promise<UnderlayAnswer | undefined> {
  const text = await readFile(join(agentDir, ANSWER_FILE), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return UnderlayAnswer.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function save(agentDir: string, answer: UnderlayAnswer): Promise<void> {
  await writeFileDurably(join(agentDir, ANSWER_FILE), JSON.stringify(answer));
}
