/**
 * The host-agent in the role `gateway`: it runs no VMs, its kernel passes their packets on.
 *
 *   claim the folder → identity → underlay → switch, with what an earlier agent left → door for flips and flows
 *   → connect; whether it acts or stands by: station.ts
 *
 * When the signal comes it disconnects and leaves the kernel as it is: packets flow on without it.
 */
import type { Logger } from 'pino';
import { liveIn } from '../agent-life.ts';
import type { AgentConfig } from '../config.ts';
import { addressTowards } from '../control/address-towards.ts';
import type { Identity } from '../control/identity.ts';
import { obtainIdentity } from '../control/obtain-identity.ts';
import type { StatusFile } from '../control/status-file.ts';
import { openGatewaySwitch } from '../net/open-switch.ts';
import { guestMtu } from '../net/vm-link-plan.ts';
import { onUnderlay, type Underlay } from '../net/wireguard/open-underlay.ts';
import { GATEWAY_PROTOCOL_VERSION, type GatewayHello } from '../protocol/gateway-messages.ts';
import { GUEST_RANGE } from '../protocol/guest-addresses.ts';
import { openFlipDoor } from './flip-door.ts';
import { GatewayDesk } from './gateway-desk.ts';
import { keepGatewayLink } from './gateway-link.ts';
import { Station } from './station.ts';

export interface GatewayParts {
  readonly config: AgentConfig;
  readonly agentVersion: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Runs until the signal. Throws EnrolmentError, AgentRunsAlreadyError, NetworkCommandError. */
export async function runGateway(parts: GatewayParts): Promise<void> {
  const { config, logger, signal } = parts;
  await liveIn({ agentDir: config.agentDir, logger, signal }, async (status) => {
    await serve(parts, await obtainIdentity(parts), status);
  });
}

async function serve(parts: GatewayParts, identity: Identity, status: StatusFile): Promise<void> {
  const { config, signal } = parts;
  const logger = parts.logger.child({ gatewayId: identity.hostId });
  const address = await addressTowards(identity.url);
  await onUnderlay({ ...config, identity, address, logger, signal }, (carrier) =>
    serveOn(carrier, { ...parts, logger, identity, address, status }),
  );
}

async function serveOn(
  { address: underlay, mtu, signal }: Underlay,
  parts: GatewayParts & {
    readonly identity: Identity;
    /** On the network between the machines. */
    readonly address: string;
    readonly status: StatusFile;
  },
): Promise<void> {
  const { config, agentVersion, logger, identity, address, status } = parts;
  const { hostId } = identity;
  const publicAddress = config.gatewayPublicAddress ?? address;
  const outside = config.gatewayOutside;
  const backend = await openGatewaySwitch({
    ...{ fleet: config.fleet, underlay, mtu: guestMtu(mtu), logger },
    ...{ guestRange: GUEST_RANGE, publicAddress, outside, prefix6: config.gatewayPrefix6 },
  });
  const desk = await GatewayDesk.open({ backend, logger });
  const floating = outside === undefined ? undefined : { address: publicAddress, device: outside };
  const station = new Station({ floating, table: backend.flows, identity, logger, signal });
  const listen = { host: underlay, port: config.flipPort };
  const door = await openFlipDoor({
    ...{ identity, listen, logger },
    flip: (flip, asking) => desk.flip(flip, asking),
    feed: (asking) => station.feed(asking),
  });
  const hello: GatewayHello = {
    type: 'hello',
    ...{ protocol: GATEWAY_PROTOCOL_VERSION, agentVersion, underlay },
    ...{ flipPort: config.flipPort, publicAddress, floating: floating?.address ?? null },
    ipv6: config.gatewayPrefix6 !== undefined,
  };
  try {
    await keepGatewayLink({
      ...{ identity, hello, desk, station, logger, signal },
      onConnected: (isConnected) => {
        const atMs = Date.now();
        const pool = 'gateway';
        void status.show(
          isConnected ? { state: 'admitted', atMs, hostId, pool } : { state: 'connecting', atMs },
        );
      },
    });
  } finally {
    door.close();
  }
}
