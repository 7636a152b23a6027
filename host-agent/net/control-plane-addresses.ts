/**
 * Where the control plane is: guests must not reach it, and of a static host's it may be public, so
 * no rule about private ranges covers it.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Logger } from 'pino';

const LOOKUP_TIMEOUT_MS = 5_000;

type Resolve = (name: string) => Promise<readonly { readonly address: string }[]>;

/**
 * The endpoint's addresses as prefixes for the guard. None, with a
 * warning, when its name cannot be resolved in LOOKUP_TIMEOUT_MS: VMs of an earlier agent must be
 * found even then.
 */
export async function controlPlanePrefixes(
  url: string,
  logger: Logger,
  resolve: Resolve = resolveAll,
): Promise<readonly string[]> {
  const name = new URL(url).hostname.replaceAll(/[[\]]/g, '');
  if (isIP(name) !== 0) return [prefixOf(name)];
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('no answer in time')), LOOKUP_TIMEOUT_MS);
  try {
    const found = await Promise.race([resolve(name), late]);
    return found.map(({ address }) => prefixOf(address));
  } catch (err) {
    logger.warn({ err, name }, "guests are not kept from the control plane's public address");
    return [];
  } finally {
    clearTimeout(timer);
  }
}

function resolveAll(name: string) {
  return lookup(name, { all: true });
}

function prefixOf(address: string): string {
  return `${address}/${isIP(address) === 6 ? 128 : 32}`;
}
