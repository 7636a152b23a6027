/** A rewindable VM whose host cannot reach the control plane any more. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { surelyOverAtMs } from '../../../app/authority/rewind.ts';
import { EvidenceStore } from '../../../app/evidence/evidence-store.ts';
import { findDueLeases, LeaseKeeper, noteLease } from '../../../app/reconciler/lease-keeper.ts';
import type { Fleet } from '../../../app/reconciler/ports.ts';
import { RecordStore } from '../../../app/records/record-store.ts';
import { HostId, VmId } from '../../../host-agent/protocol/ids.ts';
import { fleetHost, vmRecord } from '../../fixtures/records.ts';
import { startTestRedis, type TestRedis } from '../records/redis-server.ts';
import { logger } from '../vm/test-vm.ts';
import { type StoreHost, StoreWorld } from './store-hosts.ts';

const TICK_MS = 500;
const hostId = HostId.parse('h-s');

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(async () => {
  await redis?.stop();
});

/** What the control plane does about leases, with a cable to one host that can be pulled. */
class LeasingPlane implements Disposable {
  isReachable = true;
  readonly #books: Pick<ConstructorParameters<typeof LeaseKeeper>[0], 'store' | 'evidence' | 'now'>;
  readonly #evidence: EvidenceStore;
  readonly #timer: NodeJS.Timeout;

  constructor(host: StoreHost) {
    this.#evidence = EvidenceStore.open(join(redis.folder, 'evidence.db'));
    const store = new RecordStore({ redis: redis.connect(), fleet: 'leases' });
    this.#books = { store, evidence: this.#evidence, now: Date.now };
    const fleet: Fleet = {
      hosts: () => [this.#look(host)],
      request: async (_, request) => {
        if (!this.isReachable) throw new Error('the host is away');
        return await host.supervisor.serve(request);
      },
      onChange: () => () => undefined,
    };
    const { signal } = new AbortController();
    const keeper = new LeaseKeeper({ ...this.#books, fleet, logger, signal });
    this.#timer = setInterval(
      () => keeper.renew(findDueLeases(fleet.hosts(), Date.now())),
      TICK_MS,
    );
  }

  /** As before the request to start it. */
  async record(vmId: VmId): Promise<void> {
    const record = vmRecord({ id: vmId, hostId, rewindable: true });
    await this.#books.store.putVm(record, Date.now());
    await noteLease(this.#books, { vmId, hostId, epoch: 1 });
  }

  async leaseUntilMs(vmId: VmId): Promise<number> {
    return (await this.#books.store.readVm(vmId))?.leaseUntilMs ?? 0;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#evidence.close();
  }

  #look({ supervisor }: StoreHost) {
    const state = this.isReachable ? 'connected' : 'away';
    return fleetHost({ id: hostId, state, report: supervisor.picture() });
  }
}

test('its guest stands before its lease is surely over, and goes on with a new one', async () => {
  await using world = await StoreWorld.open();
  const host = await world.host('s');
  using plane = new LeasingPlane(host);
  const vmId = VmId.parse(`vm-${randomBytes(4).toString('hex')}`);
  await plane.record(vmId);
  const firstMs = await plane.leaseUntilMs(vmId);
  await host.start(vmId, true);
  // Renewed: it runs when the lease that it began with is over.
  await expect.poll(() => Date.now()).toBeGreaterThan(firstMs);
  expect(await host.status(vmId)).toBe('running');
  plane.isReachable = false;
  const untilMs = await plane.leaseUntilMs(vmId);
  await expect.poll(() => host.status(vmId)).toBe('paused');
  expect(Date.now()).toBeLessThan(surelyOverAtMs(untilMs));
  expect(host.report(vmId)).toMatchObject({ phase: 'idle', epoch: 1 });
  plane.isReachable = true;
  await expect.poll(() => host.status(vmId)).toBe('running');
  expect(await host.run(vmId, 'echo lives')).toBe('lives');
  await host.vm(vmId, ({ tracking }) => tracking !== undefined);
});
