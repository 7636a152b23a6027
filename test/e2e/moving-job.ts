/**
 * A job that waits at a gate while its VM moves between real hosts of a simulated fleet. There is no
 * gateway, so it asks anew when its connection is gone.
 */
import { z } from 'zod';
import { DrainView, type MoveView } from '../../app/api/views.ts';
import { callApi } from '../../app/cli/api-client.ts';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { hostNetns } from '../../app/providers/local/local-names.ts';
import { type HostId, MigrationId } from '../../host-agent/protocol/ids.ts';
import { PeerLink } from '../integration/migration/peer-link.ts';
import { busyVm, eventually, pushJob, readJob, settled } from './fleet.ts';
import { type Gate, openGate, patientScript } from './gate.ts';

/** EC2's. */
export const NOTICE_MS = 120_000;
/** The last pages alone take half a second. */
const SLOW_BITS_PER_SECOND = 16_000_000;

export class MovingJob implements AsyncDisposable {
  readonly jobId: string;
  readonly #fleet: SimulatedFleet;
  readonly #gate: Gate;
  #host: HostId;
  readonly #links: PeerLink[] = [];

  private constructor(
    fleet: SimulatedFleet,
    job: { readonly jobId: string; readonly host: HostId; readonly gate: Gate },
  ) {
    this.#fleet = fleet;
    this.jobId = job.jobId;
    this.#host = job.host;
    this.#gate = job.gate;
  }

  /** Resolves when its step waits. */
  static async start(fleet: SimulatedFleet, name: string): Promise<MovingJob> {
    const gate = await openGate(fleet.peer.host);
    const jobId = await pushJob(fleet, patientScript(gate, name));
    await gate.arrived();
    const { hostId: host } = await busyVm(fleet, jobId);
    return new MovingJob(fleet, { jobId, host, gate });
  }

  /** Where it was when it began, or was brought. */
  get host(): HostId {
    return this.#host;
  }

  /** To another host, at an operator's wish; resolves when it runs there. */
  async moveAway(): Promise<void> {
    const { id } = await busyVm(this.#fleet, this.jobId);
    await callApi(this.#fleet.api, {
      ...{ method: 'POST', path: `/vms/${id}/migrate`, body: {} },
      answer: z.object({ migrationId: MigrationId }),
    });
    this.#host = await this.hasMoved();
  }

  /** An operator wants its host empty. */
  async drain(): Promise<void> {
    const path = `/hosts/${this.host}/drain`;
    await callApi(this.#fleet.api, { method: 'POST', path, body: {}, answer: DrainView });
  }

  /** What leaves its host is slow from now on: its moves take their time. */
  async slowDown(): Promise<void> {
    await this.#linkOf(this.host).slow(SLOW_BITS_PER_SECOND);
  }

  /** Its move that is in this phase; the two hosts hear nothing of each other from now on. */
  async holdIn(phase: MoveView['phase']): Promise<MoveView> {
    const move = await this.moveIn(phase);
    await this.#linkOf(this.host).silence();
    return move;
  }

  async moveIn(phase: MoveView['phase']): Promise<MoveView> {
    return await eventually(`a move of job ${this.jobId} is in ${phase}`, async () => {
      const { moves } = await readJob(this.#fleet, this.jobId);
      return moves.find((move) => move.phase === phase);
    });
  }

  /** Nothing stands in the way of its moves any more. */
  async release(): Promise<void> {
    for (const link of this.#links.splice(0)) await link.restore();
  }

  /** Resolves with where it is, when that is another host than at first and it runs there. */
  async hasMoved(): Promise<HostId> {
    const vm = await eventually(`job ${this.jobId} runs elsewhere`, async () => {
      const { vm, moves } = await readJob(this.#fleet, this.jobId);
      const isOver = moves.every(({ endedAtMs }) => endedAtMs !== null);
      return isOver && vm?.phase === 'busy' && vm.hostId !== this.host && vm;
    });
    return vm.hostId;
  }

  /** Its step goes on. */
  async end() {
    this.#gate.open();
    return await settled(this.#fleet, this.jobId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A host that is gone has no link.
    await this.release().catch(() => undefined);
    await this.#gate[Symbol.asyncDispose]();
  }

  #linkOf(hostId: HostId): PeerLink {
    const machineId = hostId.replace(/-[0-9a-f]{6}$/, '');
    const link = new PeerLink(hostNetns(this.#fleet.name, machineId));
    this.#links.push(link);
    return link;
  }
}
