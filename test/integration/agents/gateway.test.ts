/** A gateway's connection to a real endpoint, and a source that asks it for flips over real TLS. */
import { createServer } from 'node:net';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { GatewayPicture } from '../../../app/gateways/ports.ts';
import { openFlipDoor } from '../../../host-agent/gateway/flip-door.ts';
import { keepGatewayLink } from '../../../host-agent/gateway/gateway-link.ts';
import { openPacketSwitch } from '../../../host-agent/migration/packet-switch.ts';
import { refused } from '../../../host-agent/protocol/errors.ts';
import {
  type Flip,
  flipProofOf,
  GATEWAY_PROTOCOL_VERSION,
  type GatewayHello,
  type GatewayRole,
  GatewayVmSpec,
  type VmTraffic,
} from '../../../host-agent/protocol/gateway-messages.ts';
import { HostId, VmId } from '../../../host-agent/protocol/ids.ts';
import { SendVm } from '../../../host-agent/protocol/migration-messages.ts';
import { until } from '../local-provider/until.ts';
import { type Door, enrol, openDoor, upgradeStatus } from './agent-door.ts';

const logger = pino({ level: 'silent' });
const hello: GatewayHello = {
  type: 'hello',
  ...{ protocol: GATEWAY_PROTOCOL_VERSION, agentVersion: '1' },
  ...{ underlay: '127.0.0.1', flipPort: 5000, publicAddress: '127.0.0.1', floating: null },
};
const spec = GatewayVmSpec.parse({
  vmId: 'vm-1',
  guestAddress: '10.201.0.7',
  home: { host: '127.0.0.1', epoch: 1 },
  move: null,
});

const traffic: VmTraffic = {
  ...{ out: { packets: 3, bytes: 300 }, in: { packets: 2, bytes: 200 } },
  ...{ drops: [{ reason: 'fenced', packets: 1 }], peers: [] },
};

async function identityOf(door: Door, name: string, role: 'host' | 'gateway') {
  const { hostId, key, cert, ca } = await enrol(door, name, role);
  const pems = { caPem: ca, certificatePem: cert, privateKeyPem: key };
  return { hostId: HostId.parse(hostId), url: door.url, ...pems };
}

test('a gateway is told its VMs, says that it has them, and is told again after a break', async () => {
  await using door = await openDoor();
  const identity = await identityOf(door, 'gw', 'gateway');
  const picture: GatewayPicture = { role: { kind: 'acting', standbys: [] }, vms: [spec] };
  const served: (readonly GatewayVmSpec[])[] = [];
  const end = new AbortController();
  const keeping = keepGatewayLink({
    ...{ identity, logger, signal: end.signal, onConnected: () => undefined },
    hello,
    station: { become: async () => undefined, speakTo: () => undefined },
    desk: {
      serve: async (vms) => [served.push(vms)].flatMap(() => []),
      traffic: async (vmId) => (vmId === spec.vmId ? traffic : undefined),
      size: 1,
    },
  });
  const { gateways } = door;
  const tell = () => until('the gateway', async () => gateways.serve(identity.hostId, picture));
  expect(await gateways.served(identity.hostId, await tell(), 5_000)).toBe(true);
  expect(served).toEqual([[spec]]);
  expect(gateways.serve(identity.hostId, picture)).toBe(1);
  expect(gateways.flipAt(identity.hostId)).toMatchObject({ host: '127.0.0.1', port: 5000 });
  gateways.disconnectAll('a test');
  await until('the break', async () => (gateways.flipAt(identity.hostId) ? undefined : true));
  expect(await gateways.served(identity.hostId, await tell(), 5_000)).toBe(true);
  expect(served).toHaveLength(2);
  const other = VmId.parse('vm-2');
  expect(await gateways.traffic(identity.hostId, spec.vmId, 5_000)).toEqual(traffic);
  expect(await gateways.traffic(identity.hostId, other, 5_000)).toBe('uncounted');
  end.abort();
  await keeping;
  await until('the end', async () => (gateways.flipAt(identity.hostId) ? undefined : true));
  expect(await gateways.traffic(identity.hostId, spec.vmId, 5_000)).toBe('away');
});

test('a gateway that could not become what it was told is told again', async () => {
  await using door = await openDoor();
  const identity = await identityOf(door, 'gw', 'gateway');
  const end = new AbortController();
  const roles: GatewayRole[] = [];
  const keeping = keepGatewayLink({
    ...{ identity, logger, hello, signal: end.signal, onConnected: () => undefined },
    station: {
      become: async (role) => {
        roles.push(role);
        if (roles.length === 1) throw new Error('there is no such device');
      },
      speakTo: (tell) => tell({ type: 'active', word: 'silent' }),
    },
    desk: { serve: async () => [], traffic: async () => undefined, size: 0 },
  });
  const { gateways } = door;
  const picture: GatewayPicture = { role: { kind: 'acting', standbys: [] }, vms: [] };
  const tell = () => until('the gateway', async () => gateways.serve(identity.hostId, picture));
  expect(await gateways.served(identity.hostId, await tell(), 5_000)).toBe(false);
  expect(await gateways.served(identity.hostId, await tell(), 5_000)).toBe(true);
  expect(roles).toEqual([picture.role, picture.role]);
  const [shown] = gateways.gateways();
  expect(shown).toMatchObject({ hears: 'silent', publicAddress: '127.0.0.1' });
  expect(await gateways.answers(identity.hostId, 5_000)).toBe(true);
  end.abort();
  await keeping;
  await until('the end', async () => (gateways.flipAt(identity.hostId) ? undefined : true));
  expect(await gateways.answers(identity.hostId, 5_000)).toBe(false);
});

test('a host is no gateway, and a gateway is no host', async () => {
  await using door = await openDoor();
  const [host, gateway] = [await enrol(door), await enrol(door, 'gw', 'gateway')];
  expect(await upgradeStatus(door, host)).toBe(101);
  expect(await upgradeStatus(door, gateway)).toBe(404);
  expect(await upgradeStatus(door, host, '/gateway')).toBe(404);
  expect(await upgradeStatus(door, gateway, '/gateway')).toBe(101);
  expect(door.enrolment.hostsSeenSince(0).map(({ hostId }) => hostId)).toEqual([host.hostId]);
});

const feed = () => undefined;
const credential = Buffer.alloc(32, 3).toString('base64');

/** A QEMU that nobody can look into. */
const UNSEEN = { qemuPid: undefined };

async function flipWorld(door: Door) {
  const [gateway, source] = [
    await identityOf(door, 'gw', 'gateway'),
    await identityOf(door, 'source', 'host'),
  ];
  const port = await freePort();
  const asked: { readonly flip: Flip; readonly asking: HostId }[] = [];
  const sent: unknown[] = [];
  const uplink = {
    sendAfter: async (next: unknown) => void sent.push(next),
    takeBack: async () => void sent.push('back'),
    traffic: async () => undefined,
  };
  const move = SendVm.parse({
    ...{ kind: 'send-vm', migrationId: 'mig-1', vmId: 'vm-1', epoch: 2, to: 'target', credential },
    ...{ peer: { host: '127.0.0.2', port: 9 }, deadlineMs: 0, cpuShare: 1 },
    flipAt: { gatewayId: gateway.hostId, host: '127.0.0.1', port },
  });
  const listen = { host: '127.0.0.1', port };
  return { gateway, source, asked, sent, uplink, move, listen };
}

test('the source of a move is known by its certificate, and shows a proof, not the credential', async () => {
  await using door = await openDoor();
  const { gateway, source, asked, sent, uplink, move, listen } = await flipWorld(door);
  const flip = async (one: Flip, asking: HostId) => {
    asked.push({ flip: one, asking });
    return undefined;
  };
  const flips = await openFlipDoor({ identity: gateway, listen, flip, feed, logger });
  const tap = {
    hasFrames: () => sent.push('looked into the tap') === 0,
    takeFrames: () => 2,
    close: () => void sent.push('closed the tap'),
  };
  const parts = { move, uplink, tap, logger };
  const packets = openPacketSwitch({ ...parts, qemuPid: undefined, identity: source });
  await packets.prepare();
  await packets.flip();
  await packets.flipBack();
  expect([await packets.dropped(), packets.leftInTap()]).toEqual([null, 2]);
  await packets.close();
  flips.close();
  expect(asked.map(({ flip: { to } }) => to)).toEqual(['source', 'target', 'source']);
  expect(new Set(asked.map(({ asking }) => asking))).toEqual(new Set([source.hostId]));
  expect(asked[0]?.flip.proof).toBe(flipProofOf(credential));
  const next = { host: '127.0.0.2', epoch: 2 };
  expect(sent).toEqual([next, 'looked into the tap', 'back', 'closed the tap']);
});

test.each(['nobody listens', 'it refuses', 'another machine answers'])(
  'a move goes on when %s',
  async (fault) => {
    await using door = await openDoor();
    const { gateway, source, sent, uplink, move, listen } = await flipWorld(door);
    const identity = fault === 'another machine answers' ? source : gateway;
    let heard = 0;
    const flip = async () => {
      heard += 1;
      return refused('no');
    };
    const flips =
      fault === 'nobody listens'
        ? undefined
        : await openFlipDoor({ identity, listen, flip, feed, logger });
    const packets = openPacketSwitch({ ...{ move, uplink, logger }, ...UNSEEN, identity: source });
    await packets.flip();
    await packets.close();
    flips?.close();
    expect(heard).toBe(fault === 'it refuses' ? 1 : 0);
    expect(sent).toEqual([{ host: '127.0.0.2', epoch: 2 }]);
  },
);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
