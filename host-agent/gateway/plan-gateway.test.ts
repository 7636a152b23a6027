import { describe, expect, it } from 'vitest';
import type { GatewayVm } from '../net/switch-backend.ts';
import { vmNumber, vniOf } from '../net/vni.ts';
import { GatewayVmSpec } from '../protocol/gateway-messages.ts';
import { HostId, MigrationId, VmId } from '../protocol/ids.ts';
import { indexVms, judgeFlip, planVm } from './plan-gateway.ts';

const GUEST = '10.201.3.4';
const NUMBER = vmNumber(GUEST);
const PROOF = Buffer.alloc(32, 1).toString('base64');
const [A, B] = [
  { host: '100.64.0.10', epoch: 3 },
  { host: '100.64.0.11', epoch: 5 },
];
const seatOf = ({ host, epoch }: typeof A) => ({ host, vni: vniOf({ number: NUMBER, epoch }) });

const atHome = GatewayVmSpec.parse({ vmId: 'vm-1', guestAddress: GUEST, home: A, move: null });
const moving = GatewayVmSpec.parse({
  ...atHome,
  move: { migrationId: 'mig-1', source: 'host-a', target: B, proof: PROOF },
});
const vm = { number: NUMBER, guestAddress: GUEST };
const flip = { migrationId: MigrationId.parse('mig-1'), vmId: VmId.parse('vm-1'), proof: PROOF };
const asking = HostId.parse('host-a');

describe('planVm', () => {
  const flipped: GatewayVm = { ...vm, seat: seatOf(B), previous: seatOf(A) };

  it.each<[string, GatewayVmSpec, GatewayVm | undefined, GatewayVm | undefined]>([
    ['a new VM', atHome, undefined, { ...vm, seat: seatOf(A) }],
    ['one as it is', atHome, { ...vm, seat: seatOf(A) }, undefined],
    ['a move', moving, { ...vm, seat: seatOf(A) }, { ...vm, seat: seatOf(A), previous: seatOf(B) }],
    ['a move that has flipped', moving, flipped, undefined],
    ['a move that is over', { ...atHome, home: B }, flipped, { ...vm, seat: seatOf(B) }],
    ['a move that was given up', atHome, flipped, { ...vm, seat: seatOf(A) }],
    [
      'a parked one',
      { ...atHome, home: 'stored' },
      { ...vm, seat: seatOf(A) },
      { ...vm, seat: undefined },
    ],
    [
      'one whose host is unknown',
      { ...atHome, home: 'unknown' },
      { ...vm, seat: seatOf(B) },
      undefined,
    ],
    [
      'one that came back to its host',
      { ...atHome, home: { ...A, epoch: 6 } },
      { ...vm, seat: seatOf(A) },
      { ...vm, seat: seatOf({ ...A, epoch: 6 }) },
    ],
  ])('%s', (_, spec, held, expected) => {
    expect(planVm(spec, held)).toEqual(expected);
  });
});

describe('indexVms', () => {
  it('keeps the offered ports, in whatever order they are', () => {
    const ports = [80, 81].map((guestPort) => ({
      ...{ protocol: 'tcp' as const, publicPort: 9_000 + guestPort, guestPort },
    }));
    const held = planVm({ ...atHome, ports }, undefined);
    expect(held).toMatchObject({ ports });
    expect(planVm({ ...atHome, ports: ports.toReversed() }, held)).toBeUndefined();
    expect(planVm({ ...atHome, ports: ports.slice(1) }, held)).toMatchObject({
      ports: ports.slice(1),
    });
    expect(planVm(atHome, held)).not.toHaveProperty('ports');
  });

  it('refuses the second VM of one address', () => {
    const other = GatewayVmSpec.parse({ ...atHome, vmId: 'vm-2' });
    const { byNumber, refused } = indexVms([atHome, other]);
    expect(byNumber.get(NUMBER)).toBe(atHome);
    expect(refused.map(({ vmId }) => vmId)).toEqual(['vm-2']);
  });
});

describe('judgeFlip', () => {
  it('takes the source of an announced move to the target and back', () => {
    const there = judgeFlip(moving, { flip: { ...flip, to: 'target' }, asking });
    const back = judgeFlip(moving, { flip: { ...flip, to: 'source' }, asking });
    expect([there, back]).toEqual([
      { kind: 'flip', number: NUMBER, to: seatOf(B) },
      { kind: 'flip', number: NUMBER, to: seatOf(A) },
    ]);
  });

  it.each<[string, GatewayVmSpec | undefined, Partial<typeof flip>, string]>([
    ['an unknown VM', undefined, {}, 'host-a'],
    ['a VM that does not move', atHome, {}, 'host-a'],
    ['another move', moving, { migrationId: MigrationId.parse('mig-2') }, 'host-a'],
    ['another host', moving, {}, 'host-b'],
    ['a wrong proof', moving, { proof: Buffer.alloc(32, 2).toString('base64') }, 'host-a'],
  ])('refuses %s', (_, spec, change, from) => {
    const asked = {
      flip: { ...flip, to: 'target' as const, ...change },
      asking: HostId.parse(from),
    };
    expect(judgeFlip(spec, asked).kind).toBe('refused');
  });

  it('refuses every flip while the control plane knows no proof', () => {
    const { move } = moving;
    const unproven = { ...moving, move: move && { ...move, proof: null } };
    expect(judgeFlip(unproven, { flip: { ...flip, to: 'target' }, asking }).kind).toBe('refused');
  });
});
