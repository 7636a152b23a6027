/** The link between two agents, to be cut, silenced or slowed down from a host's own namespace. */
import { execa } from 'execa';

const TABLE = 'faults';
/** What agents listen on for their peers, unless told otherwise (host-agent/config.ts). */
export const PEER_PORTS = { first: 49_152, last: 49_215 };

export class PeerLink {
  readonly #netns: string;

  constructor(netns: string) {
    this.#netns = netns;
  }

  /** Packets of moves vanish without a word. */
  async silence(): Promise<void> {
    await this.#rule('drop');
  }

  /** Both ends are told that the connection is over. */
  async cut(): Promise<void> {
    await this.#rule('reject with tcp reset');
  }

  /** Everything that leaves this host, at this rate. */
  async slow(bitsPerSecond: number): Promise<void> {
    const rate = ['rate', `${bitsPerSecond}bit`, 'burst', '32kb', 'latency', '100ms'];
    await this.#run('tc', ['qdisc', 'replace', 'dev', 'eth0', 'root', 'tbf', ...rate]);
  }

  async restore(): Promise<void> {
    await this.#removeRules();
    await this.#run('tc', ['qdisc', 'del', 'dev', 'eth0', 'root'], true);
  }

  async #removeRules(): Promise<void> {
    await this.#run('nft', ['delete', 'table', 'inet', TABLE], true);
  }

  async #rule(verdict: string): Promise<void> {
    const ports = `${PEER_PORTS.first}-${PEER_PORTS.last}`;
    const match = `tcp dport ${ports} ${verdict}\ntcp sport ${ports} ${verdict}`;
    const chain = (hook: string) =>
      `chain ${hook} {\ntype filter hook ${hook} priority 0\n${match}\n}`;
    await this.#removeRules();
    await this.#run('nft', [`table inet ${TABLE} {\n${chain('output')}\n${chain('input')}\n}`]);
  }

  get #enter(): readonly string[] {
    return [`--net=/run/netns/${this.#netns}`];
  }

  async #run(file: string, args: readonly string[], mayFail = false): Promise<void> {
    await execa('nsenter', [...this.#enter, file, ...args], { reject: !mayFail });
  }
}
