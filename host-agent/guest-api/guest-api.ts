/**
 * The guest API of all VMs on this host: opens its address in each VM's namespace and passes the
 * questions on. What guests send is read by another process (door-process.ts), which is given the
 * sockets, and is started anew with all of them when it ends.
 *
 * Invariants: a question is asked for the VM whose socket it came through, and only while that VM
 * is open; no failure here touches a VM, whose job is then told nothing until it asks again.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { GuestAnswer, GuestAsk } from '../protocol/guest-api.ts';
import { GUEST_API_ADDRESS, GUEST_API_PORT } from '../protocol/guest-api-address.ts';
import type { VmId } from '../protocol/ids.ts';
import { FromDoor, type ToDoor } from './door-messages.ts';
import { bindInNamespace } from './netns-socket.ts';

const DOOR_PROGRAM = fileURLToPath(new URL('door-process.ts', import.meta.url));
const DOOR_HEAP_MB = 64;
/** Not more often than this is a door that ends started anew. */
const RESTART_MS = 1_000;
const BACKLOG = 16;

export interface GuestApiParts {
  /** Never rejects. */
  readonly ask: (vmId: VmId, ask: GuestAsk) => Promise<GuestAnswer>;
  readonly logger: Logger;
}

export class GuestApi {
  readonly #parts: GuestApiParts;
  /** Namespaces of the VMs that are served. */
  readonly #open = new Map<VmId, string>();
  #door: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(parts: GuestApiParts) {
    this.#parts = parts;
  }

  /** Answers at once; a failure is logged, and the VM goes without. Idempotent. */
  open(vmId: VmId, netnsPath: string): void {
    if (this.#ended || this.#open.get(vmId) === netnsPath) return;
    this.#open.set(vmId, netnsPath);
    void this.#serve(vmId, netnsPath);
  }

  /** Idempotent. */
  close(vmId: VmId): void {
    if (this.#open.delete(vmId)) this.#tell({ kind: 'close', vmId });
  }

  /** Final: the door's process ends. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#restart);
    this.#open.clear();
    if (this.#door?.connected === true) this.#door.disconnect();
  }

  async #serve(vmId: VmId, netnsPath: string): Promise<void> {
    let listening: Server | undefined;
    try {
      listening = await listenIn(netnsPath);
      if (this.#open.get(vmId) !== netnsPath || this.#restart !== undefined) return;
      await this.#handOver(vmId, listening);
    } catch (err) {
      this.#open.delete(vmId);
      this.#parts.logger.warn({ vmId, err }, 'the guest API of this VM cannot be opened');
    } finally {
      listening?.close();
    }
  }

  /** Resolves when the door has the socket, or has ended. */
  async #handOver(vmId: VmId, listening: Server): Promise<void> {
    this.#door ??= this.#startDoor();
    const door = this.#door;
    const { promise, resolve } = Promise.withResolvers<void>();
    door.send({ kind: 'open', vmId } satisfies ToDoor, listening, () => resolve());
    await promise;
  }

  #startDoor(): ChildProcess {
    const { PATH = '', ARCHITECT_FLEET = '' } = process.env;
    const door = fork(DOOR_PROGRAM, [], {
      execArgv: [`--max-old-space-size=${DOOR_HEAP_MB}`],
      env: { PATH, ARCHITECT_FLEET },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    door.on('message', (message) => this.#hear(door, message));
    door.on('error', (err) => this.#parts.logger.warn({ err }, 'the guest API’s door failed'));
    // Of one that could not be started, too.
    door.once('close', (code, signal) => this.#startAgain({ code, signal }));
    return door;
  }

  #startAgain(how: { readonly code: number | null; readonly signal: string | null }): void {
    this.#door = undefined;
    if (this.#ended) return;
    this.#parts.logger.warn(how, 'the guest API’s door ended; it is started anew');
    this.#restart = setTimeout(() => {
      this.#restart = undefined;
      for (const [vmId, netnsPath] of this.#open) void this.#serve(vmId, netnsPath);
    }, RESTART_MS);
  }

  #hear(door: ChildProcess, message: unknown): void {
    const asked = FromDoor.safeParse(message).data;
    if (asked === undefined) {
      door.kill('SIGKILL');
      return;
    }
    if (this.#open.has(asked.vmId)) void this.#answer(asked);
  }

  async #answer({ askId, vmId, ask }: FromDoor): Promise<void> {
    const answer = await this.#parts.ask(vmId, ask);
    this.#tell({ kind: 'answer', askId, answer });
  }

  #tell(message: ToDoor): void {
    if (this.#door?.connected === true) this.#door.send(message, () => undefined);
  }
}

/** What comes before the door has the socket is turned away, and comes again. */
async function listenIn(netnsPath: string): Promise<Server> {
  const fd = bindInNamespace(netnsPath, { address: GUEST_API_ADDRESS, port: GUEST_API_PORT });
  const server = createServer((early) => early.destroy());
  server.listen({ fd, backlog: BACKLOG });
  await once(server, 'listening');
  return server;
}
