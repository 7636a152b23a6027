import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { GatewaySwitch, GatewayVm } from '../net/switch-backend.ts';
import { vmNumber, vniOf } from '../net/vni.ts';
import { Flip, GatewayVmSpec } from '../protocol/gateway-messages.ts';
import { HostId } from '../protocol/ids.ts';
import { GatewayDesk } from './gateway-desk.ts';

const logger = pino({ level: 'silent' });
const GUEST = '10.201.3.4';
const NUMBER = vmNumber(GUEST);
const PROOF = Buffer.alloc(32, 1).toString('base64');
const asking = HostId.parse('host-a');
const [A, B] = [
  { host: '100.64.0.10', epoch: 1 },
  { host: '100.64.0.11', epoch: 2 },
];
const seatOf = ({ host, epoch }: typeof A) => ({ host, vni: vniOf({ number: NUMBER, epoch }) });
const atHome = GatewayVmSpec.parse({ vmId: 'vm-1', guestAddress: GUEST, home: A, move: null });
const moving = GatewayVmSpec.parse({
  ...atHome,
  move: { migrationId: 'mig-1', source: asking, target: B, proof: PROOF },
});
const flipTo = (to: Flip['to']) =>
  Flip.parse({ migrationId: 'mig-1', vmId: 'vm-1', proof: PROOF, to });

/** A kernel of the test's own: what it holds outlives a desk. */
class FakeSwitch implements GatewaySwitch {
  readonly vms = new Map<number, GatewayVm>();
  broken = new Set<number>();

  async ensureVm(vm: GatewayVm): Promise<void> {
    if (this.broken.has(vm.number)) throw new Error('no room');
    this.vms.set(vm.number, vm);
  }

  async flip(number: number, to: NonNullable<GatewayVm['seat']>): Promise<boolean> {
    const vm = this.vms.get(number);
    if (vm !== undefined) this.vms.set(number, { ...vm, seat: to, previous: vm.seat });
    return vm !== undefined;
  }

  async removeVm(number: number): Promise<void> {
    this.vms.delete(number);
  }

  async traffic(): Promise<undefined> {}

  async list(): Promise<readonly GatewayVm[]> {
    return [...this.vms.values()];
  }
}

describe('GatewayDesk', () => {
  it('flips during an announced move, and fences when it is over', async () => {
    const backend = new FakeSwitch();
    const desk = await GatewayDesk.open({ backend, logger });
    await desk.serve([moving]);
    expect(await desk.flip(flipTo('target'), asking)).toBeUndefined();
    expect(backend.vms.get(NUMBER)).toMatchObject({ seat: seatOf(B), previous: seatOf(A) });
    await desk.serve([moving]);
    expect(backend.vms.get(NUMBER)).toMatchObject({ seat: seatOf(B), previous: seatOf(A) });
    await desk.serve([{ ...atHome, home: B }]);
    expect(backend.vms.get(NUMBER)).toEqual({
      number: NUMBER,
      guestAddress: GUEST,
      seat: seatOf(B),
    });
    expect(await desk.flip(flipTo('source'), asking)).toMatchObject({ kind: 'refused' });
  });

  it('flips back', async () => {
    const backend = new FakeSwitch();
    const desk = await GatewayDesk.open({ backend, logger });
    await desk.serve([moving]);
    await desk.flip(flipTo('target'), asking);
    expect(await desk.flip(flipTo('source'), asking)).toBeUndefined();
    expect(backend.vms.get(NUMBER)).toMatchObject({ seat: seatOf(A), previous: seatOf(B) });
  });

  it('goes on, after a crash in the middle of a move, where the kernel is', async () => {
    const backend = new FakeSwitch();
    const before = await GatewayDesk.open({ backend, logger });
    await before.serve([moving]);
    await before.flip(flipTo('target'), asking);
    const desk = await GatewayDesk.open({ backend, logger });
    expect(await desk.flip(flipTo('source'), asking)).toMatchObject({ kind: 'refused' });
    await desk.serve([moving]);
    expect(backend.vms.get(NUMBER)).toMatchObject({ seat: seatOf(B) });
    await desk.serve([]);
    expect(backend.vms.size).toBe(0);
  });

  it('serves the others when one VM cannot be', async () => {
    const backend = new FakeSwitch();
    backend.broken.add(NUMBER);
    const desk = await GatewayDesk.open({ backend, logger });
    const other = GatewayVmSpec.parse({ ...atHome, vmId: 'vm-2', guestAddress: '10.201.3.5' });
    expect(await desk.serve([atHome, other])).toEqual([{ vmId: 'vm-1', why: 'no room' }]);
    expect(desk.size).toBe(1);
  });
});
