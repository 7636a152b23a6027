import { describe, expect, it } from 'vitest';
import type { OfferedPort } from '../../host-agent/protocol/gateway-messages.ts';
import { HostId } from '../../host-agent/protocol/ids.ts';
import { vmRecord } from '../../test/fixtures/records.ts';
import { type PortWish, planPorts } from './offer-port.ts';

const [A, B] = [HostId.parse('gw-a'), HostId.parse('gw-b')];
const web: OfferedPort = { protocol: 'tcp', publicPort: 8_192, guestPort: 80 };

function vmAt(id: string, gateway: HostId, ports: readonly OfferedPort[] = []) {
  const network = { guestAddress: '10.201.0.5', gateway, gatewayAddress: '100.64.0.1' };
  return vmRecord({ id, phase: 'busy', network: { ...network, ports: [...ports] } });
}

function plan(wish: Partial<PortWish>, had: readonly OfferedPort[] = [], others = [vmAt('b', B)]) {
  const vm = vmAt('a', A, had);
  const actingFor = () => A;
  return planPorts(
    { vm, vms: [vm, ...others], actingFor },
    { protocol: 'tcp', guestPort: 80, undo: false, ...wish },
  );
}

describe('planPorts', () => {
  it.each<[string, Partial<PortWish>, readonly OfferedPort[], readonly OfferedPort[]]>([
    ['the first that is free', {}, [], [web]],
    ['what it has', {}, [web], [web]],
    [
      'another public port than before',
      { publicPort: 9_000 },
      [web],
      [{ ...web, publicPort: 9_000 }],
    ],
    ['a second one', { guestPort: 81 }, [web], [web, { ...web, publicPort: 8_193, guestPort: 81 }]],
    ['the same number for UDP', { protocol: 'udp' }, [web], [web, { ...web, protocol: 'udp' }]],
    ['none any more', { undo: true }, [web], []],
    ['none, again', { undo: true }, [], []],
  ])('%s', (_, wish, had, ports) => {
    expect(plan(wish, had)).toEqual({ kind: 'planned', ports });
  });

  it('gives no port that another VM of the same gateway has, whoever that was once', () => {
    const others = [vmAt('b', B, [web])];
    expect(plan({}, [], others)).toMatchObject({ ports: [{ publicPort: 8_193 }] });
    expect(plan({ publicPort: 8_192 }, [], others)).toMatchObject({ kind: 'refused' });
  });

  it.each([
    ['a port of the slices', { publicPort: 12_288 }],
    ['a port of the gateway’s own', { publicPort: 22 }],
  ])('refuses %s', (_, wish) => {
    expect(plan(wish)).toMatchObject({ kind: 'refused' });
  });

  it('refuses a VM without a gateway, one that is over, and too many', () => {
    const wish = { protocol: 'tcp', guestPort: 80, undo: false } as const;
    const actingFor = () => A;
    for (const vm of [vmRecord({ network: null }), { ...vmAt('a', A), phase: 'failed' as const }])
      expect(planPorts({ vm, vms: [vm], actingFor }, wish)).toMatchObject({ kind: 'refused' });
    const many = Array.from({ length: 16 }, (_, n) => ({
      ...{ ...web, publicPort: 9_000 + n, guestPort: 100 + n },
    }));
    expect(plan({}, many)).toMatchObject({ kind: 'refused' });
  });
});
