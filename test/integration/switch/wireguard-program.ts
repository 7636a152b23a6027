/**
 * WireGuard under the tunnel in the namespace that this runs in: `wireguard-program.ts FOLDER FLEET TAG`.
 * Takes one JSON array per line: `["key"]` gives the public key, `["apply", word]`, `["remove"]`.
 */
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { wireguardLink } from '../../../host-agent/net/wireguard/plan-wireguard.ts';
import { ensureWireguardKeys } from '../../../host-agent/net/wireguard/wireguard-key.ts';
import { WireguardLink } from '../../../host-agent/net/wireguard/wireguard-link.ts';
import { UnderlayWord } from '../../../host-agent/protocol/underlay.ts';

const [agentDir = '', fleet = '', tag = ''] = process.argv.slice(2);
const logger = pino({ level: 'silent' });
const { privateKey, publicKey } = await ensureWireguardKeys(agentDir);
const name = wireguardLink(tag);
const link = new WireguardLink({ agentDir, fleet, link: name, privateKey, mtu: 1440, logger });
void link.tend(new AbortController().signal);
const methods: Readonly<Record<string, (word: unknown) => unknown>> = {
  key: () => publicKey,
  apply: async (given) => {
    const word = UnderlayWord.parse(given);
    if (word.kind === 'wireguard') await link.apply(word);
  },
  remove: () => link.remove(),
};
process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [method, word] = JSON.parse(line);
  const answer: unknown = await methods[method]?.(word);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
