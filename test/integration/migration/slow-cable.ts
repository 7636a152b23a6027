/**
 * The way from one agent to another, over this process: everything takes a while, so that a test that
 * sees something on a host's disk can cut the cable before the other host hears of it. What is cut
 * vanishes, and neither end is told.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { PeerEndpoint } from '../../../host-agent/protocol/migration-messages.ts';

const DELAY_MS = 400;

export class SlowCable implements AsyncDisposable {
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Set<Server>();
  #isCut = false;

  /** Where to dial instead of `peer`; on this address of the host. */
  async lay(address: string, peer: PeerEndpoint): Promise<PeerEndpoint> {
    const server = createServer((near) => {
      const far = connect(peer.port, peer.host);
      this.#pass(near, far);
      this.#pass(far, near);
    });
    this.#servers.add(server);
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new Error('the cable has no port');
    return { host: address, port: bound.port };
  }

  cut(): void {
    this.#isCut = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of this.#servers) {
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('error', () => undefined);
    from.on('data', (bytes) => this.#later(() => to.write(bytes)));
    from.on('close', () => this.#later(() => to.destroy()));
  }

  #later(act: () => void): void {
    setTimeout(() => {
      if (!this.#isCut) act();
    }, DELAY_MS);
  }
}
