/** A real VM whose QEMU streams into a memory image, and what its memory really is, read from outside. */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { MemoryBase } from '../../../host-agent/migration/image/memory-base.ts';
import { MemoryImage } from '../../../host-agent/migration/image/memory-image.ts';
import { PAGE_BYTES } from '../../../host-agent/migration/stream/stream-format.ts';
import { holdMigration } from '../../../host-agent/migration/tracking/held-migration.ts';
import { MemoryTracker } from '../../../host-agent/migration/tracking/memory-tracker.ts';
import {
  listenForStream,
  readSocketBufferBytes,
} from '../../../host-agent/migration/tracking/stream-socket.ts';
import { adoptVm } from '../../../host-agent/vm/driver.ts';
import {
  connectGuestAgent,
  type GuestAgent,
} from '../../../host-agent/vm/guest-agent/guest-agent.ts';
import { MEMORY_BACKEND } from '../../../host-agent/vm/qemu-arguments.ts';
import { qemuUser } from '../../../host-agent/vm/qemu-user.ts';
import { connectQmp, type QmpClient } from '../../../host-agent/vm/qmp/qmp-client.ts';
import { TEMPLATE_MEMORY, vmFiles } from '../../../host-agent/vm/vm-files.ts';
import { logger, type TestFleet, type TestVm, untilIdle, untilSaved } from '../vm/test-vm.ts';

const WAIT_MS = 120_000;
const READ_PAGES = 256;

export function limit(): AbortSignal {
  return AbortSignal.timeout(WAIT_MS);
}

export class TrackedVm implements AsyncDisposable {
  readonly qmp: QmpClient;
  readonly guest: GuestAgent;
  readonly image: MemoryImage;
  readonly #vm: TestVm;
  readonly #fleet: TestFleet;
  readonly #qemuPid: number;
  #tracker: MemoryTracker | undefined;

  private constructor(
    parts: Pick<TrackedVm, 'qmp' | 'guest' | 'image'> & {
      vm: TestVm;
      fleet: TestFleet;
      qemuPid: number;
    },
  ) {
    this.qmp = parts.qmp;
    this.guest = parts.guest;
    this.image = parts.image;
    this.#vm = parts.vm;
    this.#fleet = parts.fleet;
    this.#qemuPid = parts.qemuPid;
  }

  /** An idle VM, its driver detached; nothing is tracked yet. */
  static async start(fleet: TestFleet): Promise<TrackedVm> {
    const vm = await fleet.start();
    const { qemuPid } = await untilIdle(vm.driver);
    vm.driver.detach();
    await untilSaved(vm.spec, vm.driver);
    const files = vmFiles(vm.spec.vmDir);
    const memory = await MemoryBase.open(join(vm.spec.templateDir, TEMPLATE_MEMORY));
    return new TrackedVm({
      qmp: await connectQmp(files.qmpSocket, limit()),
      guest: await connectGuestAgent(files.guestAgentSocket, limit()),
      image: new MemoryImage({ blocks: [], base: { block: MEMORY_BACKEND, memory } }),
      vm,
      fleet,
      qemuPid: qemuPid ?? 0,
    });
  }

  get tracker(): MemoryTracker {
    if (this.#tracker === undefined) throw new Error('nothing is tracked');
    return this.#tracker;
  }

  /** `now`: the clock of the heat, where a test makes time pass. */
  async hold(now?: () => number): Promise<MemoryTracker> {
    const { vmId, vmDir } = this.#vm.spec;
    const socketPath = join(vmDir, 'stream.sock');
    const listener = await listenForStream(socketPath, { user: qemuUser(vmId), signal: limit() });
    try {
      await holdMigration(this.qmp, { socketPath, signal: limit() });
      const socket = await listener.accepted;
      const kernelBytes = await readSocketBufferBytes();
      const clock = now === undefined ? {} : { now };
      const image = () => this.image;
      this.#tracker = new MemoryTracker({ socket, kernelBytes, image, ...clock });
      return this.#tracker;
    } finally {
      await listener.close();
    }
  }

  /** What `query-migrate` and `query-status` say. */
  async state(): Promise<{ readonly migration: string; readonly guest: string }> {
    const answer = z.object({ status: z.string().default('none') });
    const [migration, guest] = await Promise.all([
      this.qmp.call({ command: 'query-migrate', answer }),
      this.qmp.call({ command: 'query-status', answer }),
    ]);
    return { migration: migration.status, guest: guest.status };
  }

  async run(script: string): Promise<string> {
    const exec = { path: '/bin/bash', args: ['-c', script], timeoutMs: WAIT_MS };
    const { exitCode, stdout, stderr } = await this.guest.exec(exec);
    if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stdout} ${stderr}`);
    return stdout.trim();
  }

  /** The numbers of the image's pages, of all blocks, that hold this text. */
  pagesWith(text: string): { readonly block: number; readonly page: number }[] {
    return this.image.blocks.flatMap(({ index, sizeBytes }) =>
      Array.from({ length: sizeBytes / PAGE_BYTES }, (_, page) => ({ block: index, page })).filter(
        ({ page }) =>
          this.image.stateOf(index, page) === 'own' &&
          this.image.readPage(index, page).includes(text),
      ),
    );
  }

  /** Compares the image with QEMU's own memory, byte for byte; the guest must be stopped. */
  async compare(): Promise<{ readonly blocks: string[]; readonly different: string[] }> {
    await using memory = await open(`/proc/${this.#qemuPid}/mem`, 'r');
    const blocks = await this.#readBlocks();
    const different: string[] = [];
    for (const { name, hostAddress, sizeBytes } of blocks) {
      const block = this.image.blocks.find((one) => one.name === name);
      if (block?.sizeBytes !== sizeBytes) different.push(`${name}: size`);
      else different.push(...(await this.#compareBlock(memory, { ...block, hostAddress })));
    }
    return { blocks: blocks.map(({ name }) => name), different };
  }

  async #compareBlock(
    memory: FileHandle,
    block: { name: string; index: number; sizeBytes: number; hostAddress: number },
  ): Promise<string[]> {
    const different: string[] = [];
    const real = Buffer.alloc(READ_PAGES * PAGE_BYTES);
    for (let at = 0; at < block.sizeBytes; at += real.length) {
      const length = Math.min(real.length, block.sizeBytes - at);
      const { bytesRead } = await memory.read(real, 0, length, block.hostAddress + at);
      if (bytesRead !== length) throw new Error(`${block.name} is not readable at ${at}`);
      for (let offset = 0; offset < length; offset += PAGE_BYTES) {
        const page = (at + offset) / PAGE_BYTES;
        const seen = this.image.readPage(block.index, page);
        if (seen.compare(real, offset, offset + PAGE_BYTES) !== 0) {
          different.push(`${block.name}: page ${page}`);
        }
      }
    }
    return different;
  }

  /** Every RAM block that QEMU migrates, and where it is in QEMU's address space. */
  async #readBlocks(): Promise<{ name: string; hostAddress: number; sizeBytes: number }[]> {
    const text = await this.qmp.call({
      command: 'human-monitor-command',
      arguments: { 'command-line': 'info ramblock' },
      answer: z.string(),
    });
    const lines = text.split(/\r?\n/).map((line) => line.trim().split(/\s+/));
    return lines.flatMap(([name = '', , , , used = '', , address = '']) =>
      used.startsWith('0x') && address.startsWith('0x')
        ? [{ name, hostAddress: Number(address), sizeBytes: Number(used) }]
        : [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tracker?.close();
    this.qmp.close();
    this.guest.close();
    const adopted = await adoptVm(this.#vm.spec.vmDir, { logger });
    if (adopted !== undefined) await this.#fleet.own(adopted).stop('the test is over');
  }
}
