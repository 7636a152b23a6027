/**
 * A public address that is on this machine only while its gateway acts: put on a device and announced,
 * or taken off it. Both are idempotent. In the caller's namespace.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { encodeAnnouncements } from './arp-announcement.ts';
import { NetworkCommandError } from './net-errors.ts';
import { readNetwork, runIpBatch, tryIpBatch } from './network-commands.ts';
import { sendFrames } from './raw-frames.ts';

/** After the first; a frame may be lost, and a switch may be slow. */
const REPEATS_AFTER_MS = [100, 1_000, 5_000];

export interface FloatingAddress {
  readonly address: string;
  readonly device: string;
}

const Links = z.array(z.object({ ifindex: z.int(), address: z.string() }));

export async function takeAddress(
  { address, device }: FloatingAddress,
  parts: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  await runIpBatch(`addr replace ${address}/32 dev ${device}\n`);
  const [link] = Links.parse(JSON.parse(await readNetwork('ip', ['-j', 'link', 'show', device])));
  if (link === undefined) throw new NetworkCommandError(`There is no interface ${device}.`);
  const frames = encodeAnnouncements({ address, mac: link.address });
  sendFrames(link.ifindex, frames);
  repeat(() => sendFrames(link.ifindex, frames), parts.signal).catch((err: unknown) => {
    if (!parts.signal.aborted) parts.logger.warn({ err }, 'the address was announced once only');
  });
}

export async function giveUpAddress({ address, device }: FloatingAddress): Promise<void> {
  await tryIpBatch(`addr del ${address}/32 dev ${device}\n`);
}

async function repeat(announce: () => void, signal: AbortSignal): Promise<void> {
  for (const ms of REPEATS_AFTER_MS) {
    await sleep(ms, undefined, { signal, ref: false });
    announce();
  }
}
