/**
 * The WireGuard link of this node, in the caller's namespace: the kernel's where it has one, else
 * wireguard-go's.
 *
 *   absent ──apply──→ whole ──its process ends──→ broken ──tend──→ whole      any ──remove──→ absent
 *
 * Invariants:
 *   - Its guard stands before the link does, and while it is away: nothing goes round it.
 *   - `apply` and `remove` are idempotent. What an earlier agent made is gone on with, so sessions live.
 *   - The private key goes to `wg` in a file (0600) of the agent's folder: it is in no argument,
 *     environment or log.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { z } from 'zod';
import { writeFileDurably } from '../../journal/durable-file.ts';
import type { WireguardWord } from '../../protocol/underlay.ts';
import { loadRuleset, readNetwork, runIpBatch, tryIpBatch } from '../network-commands.ts';
import {
  planAddress,
  planConfiguration,
  planLinkGuard,
  planNoLinkGuard,
} from './plan-wireguard.ts';
import { endUserspace, isUserspaceAlive, startUserspace } from './userspace.ts';
import { WireguardError } from './wireguard-error.ts';

const CONFIGURATION_FILE = 'wireguard.conf';
const COMMAND_LIMIT_MS = 10_000;
const READY_LIMIT_MS = 5_000;
const READY_POLL_MS = 20;
const LOOK_EVERY_MS = 500;

const Links = z.array(
  z
    .object({
      ifname: z.string(),
      linkinfo: z.object({ info_kind: z.string() }).partial().optional(),
    })
    .partial(),
);

export interface WireguardLinkParts {
  readonly agentDir: string;
  readonly fleet: string;
  readonly link: string;
  readonly privateKey: string;
  /** Of the link itself, in bytes. */
  readonly mtu: number;
  readonly logger: Logger;
}

export class WireguardLink {
  readonly #parts: WireguardLinkParts;
  #word: WireguardWord | undefined;
  #isKernel = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: WireguardLinkParts) {
    this.#parts = parts;
  }

  /** The link is there with these peers and no others. Rejects with WireguardError, NetworkCommandError. */
  apply(word: WireguardWord): Promise<void> {
    return this.#inTurn(async () => {
      this.#word = word;
      await this.#ensure(word);
    });
  }

  /** Until the signal: a link whose process ended is made again. */
  async tend(signal: AbortSignal): Promise<void> {
    const { logger } = this.#parts;
    while (!signal.aborted) {
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await this.#inTurn(() => this.#mend()).catch((err: unknown) => {
        logger.error({ err }, 'the link under the tunnel is not mended; trying again');
      });
    }
  }

  /** The link, its process and its guard. */
  remove(): Promise<void> {
    const { agentDir, fleet, link } = this.#parts;
    return this.#inTurn(async () => {
      this.#word = undefined;
      await endUserspace(agentDir);
      await tryIpBatch(`link del ${link}\n`);
      await loadRuleset(planNoLinkGuard(fleet));
    });
  }

  async #mend(): Promise<void> {
    // The kernel's own ends only with the link that somebody takes away.
    if (this.#word === undefined || this.#isKernel) return;
    const { agentDir, logger, link } = this.#parts;
    if (await isUserspaceAlive(agentDir)) return;
    logger.warn({ link }, 'the link under the tunnel is gone; it is made again');
    await this.#ensure(this.#word);
  }

  async #ensure({ address, range, port, peers }: WireguardWord): Promise<void> {
    const { fleet, link, privateKey, mtu } = this.#parts;
    await loadRuleset(planLinkGuard({ fleet, link, range }));
    if (!(await this.#isWhole())) await this.#make();
    await this.#configure(planConfiguration({ privateKey, port, peers }));
    await runIpBatch(planAddress({ link, address, range, mtu }));
  }

  async #make(): Promise<void> {
    const { agentDir, fleet, link, logger } = this.#parts;
    await endUserspace(agentDir);
    await tryIpBatch(`link del ${link}\nlink add ${link} type wireguard\n`);
    this.#isKernel = (await readKind(link)) === 'wireguard';
    if (!this.#isKernel) await startUserspace({ agentDir, fleet, link });
    await waitUntilReady(link);
    logger.info(
      { link, wireguard: this.#isKernel ? 'kernel' : 'wireguard-go' },
      'the link under the tunnel',
    );
  }

  async #isWhole(): Promise<boolean> {
    const { agentDir, link } = this.#parts;
    const kind = await readKind(link);
    this.#isKernel = kind === 'wireguard';
    return this.#isKernel || (kind === 'tun' && (await isUserspaceAlive(agentDir)));
  }

  async #configure(configuration: string): Promise<void> {
    const { agentDir, link } = this.#parts;
    const path = join(agentDir, CONFIGURATION_FILE);
    await writeFileDurably(path, configuration);
    await runWg(['syncconf', link, path]);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

async function readKind(link: string): Promise<string | undefined> {
  const shown = await readNetwork('ip', ['-d', '-j', 'link', 'show']);
  const found = Links.parse(JSON.parse(shown)).find(({ ifname }) => ifname === link);
  return found?.linkinfo?.info_kind;
}

/** wireguard-go makes its device and then the socket by which `wg` speaks with it. */
async function waitUntilReady(link: string): Promise<void> {
  const limit = performance.now() + READY_LIMIT_MS;
  for (;;) {
    try {
      await runWg(['show', link, 'listen-port']);
      return;
    } catch (error) {
      if (performance.now() > limit) throw error;
    }
    await sleep(READY_POLL_MS);
  }
}

async function runWg(args: readonly string[]): Promise<void> {
  const { failed, code, stderr } = await execa('wg', args, {
    ...{ timeout: COMMAND_LIMIT_MS, reject: false },
  });
  if (!failed) return;
  if (code === 'ENOENT')
    throw new WireguardError('There is no wg here. Install the package wireguard-tools.');
  throw new WireguardError(`wg ${args[0]} failed: ${stderr}`);
}
