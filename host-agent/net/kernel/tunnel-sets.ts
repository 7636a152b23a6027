/**
 * The tunnel's device and nft table in the caller's namespace, and what the table's sets hold: read
 * once, changed only through here.
 */
import {
  enableForwarding,
  loadRuleset,
  loosenReversePath,
  readNetwork,
  tryIpBatch,
} from '../network-commands.ts';
import { planTunnel, TUNNEL_LINK, type Tunnel } from '../tunnel.ts';
import {
  type CountedPassage,
  isSamePassage,
  type Passage,
  parsePassages,
  planPassage,
  planTunnelTable,
  type TunnelTable,
  WAYS,
  type Way,
} from './tunnel-rules.ts';

export class TunnelSets {
  readonly #table: string;
  readonly #held: Record<Way, Passage[]>;

  private constructor(table: string, held: Record<Way, Passage[]>) {
    this.#table = table;
    this.#held = held;
  }

  /** Makes device and table where they are not there, and reads what an earlier agent left. */
  static async open(tunnel: Tunnel, table: TunnelTable): Promise<TunnelSets> {
    await tryIpBatch(`${planTunnel(tunnel).join('\n')}\n`);
    await Promise.all([
      enableForwarding(),
      loosenReversePath(TUNNEL_LINK),
      loadRuleset(planTunnelTable(table)),
    ]);
    const held = { inward: [], outward: [], onward: [] };
    const sets = new TunnelSets(table.name, held);
    for (const way of WAYS) sets.#held[way] = [...(await sets.read(way))];
    return sets;
  }

  /** All that is held of this guest's, or of all guests'. */
  held(way: Way, guestAddress?: string): readonly Passage[] {
    const all = this.#held[way];
    return guestAddress === undefined
      ? all
      : all.filter((one) => one.guestAddress === guestAddress);
  }

  /** Of this guest's these are to be there and no others, in one transaction. Counts of those that stay go on. */
  async keep(guestAddress: string, wanted: Readonly<Partial<Record<Way, readonly Passage[]>>>) {
    let script = '';
    for (const way of WAYS) {
      const before = this.held(way, guestAddress);
      const after = wanted[way] ?? [];
      const added = after.filter((one) => !before.some((it) => isSamePassage(it, one)));
      const gone = before.filter((one) => !after.some((it) => isSamePassage(it, one)));
      for (const one of added) script += planPassage(this.#table, { verb: 'add', way }, one);
      for (const one of gone) script += planPassage(this.#table, { verb: 'delete', way }, one);
    }
    if (script !== '') await loadRuleset(script);
    // Another guest's may have changed meanwhile.
    for (const way of WAYS) {
      const others = this.#held[way].filter((one) => one.guestAddress !== guestAddress);
      this.#held[way] = [...others, ...(wanted[way] ?? [])];
    }
  }

  async read(way: Way): Promise<readonly CountedPassage[]> {
    return parsePassages(await readNetwork('nft', ['-j', 'list', 'set', 'inet', this.#table, way]));
  }

  /** 0 for a passage that is not there. */
  async packets(way: Way, passage: Passage): Promise<number> {
    const all = await this.read(way);
    return all.find((one) => isSamePassage(one, passage))?.packets ?? 0;
  }
}
