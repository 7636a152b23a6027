/**
 * The network's part of a VM's departure, at the source:
 *
 *   prepare ─▶ flip: the gateway sends to the target (acknowledged) ─▶ what still comes here is sent
 *   after the VM ─▶ the guest takes what waits in its tap │ flipBack: the gateway sends here again ─▶
 *   what comes here stays here
 *
 * Nothing here fails a move and nothing takes longer than CALL_LIMIT_MS: without its gateway's answer
 * a VM moves all the same, and its packets follow as soon as the control plane tells the gateway.
 */
import type { Logger } from 'pino';
import { Agent, request as httpRequest } from 'undici';
import { openTapQueue, type TapQueue } from '../net/tap-queue.ts';
import type { VmUplink } from '../net/vm-uplink.ts';
import { type Flip, flipProofOf } from '../protocol/gateway-messages.ts';
import type { FlipEndpoint, SendVm } from '../protocol/migration-messages.ts';
import { drainTap, readDropped, sumLosses } from './packet-losses.ts';
import { isCertificateOf, type PeerIdentity, peerTlsOf } from './peer/peer-tls.ts';

const CALL_LIMIT_MS = 1_000;
const ANSWER_LIMIT_BYTES = 4_096;
/** The connection is made before the guest is copied, and waits for the flip. */
const KEEP_ALIVE_MS = 600_000;

export interface PacketSwitch {
  /** Connects to the gateway, so that the flip is one round trip. */
  prepare(): Promise<void>;
  flip(): Promise<void>;
  flipBack(): Promise<void>;
  /** What this host has dropped of the VM's packets since the flip; null: nobody counts. */
  dropped(): Promise<number | null>;
  /** Frames that the guest, which has just gone, did not take; they are gone, too. */
  leftInTap(): number | null;
  close(): Promise<void>;
}

export interface SwitchParts {
  readonly move: SendVm;
  /** Undefined: the VM has no gateway, and there is nothing to flip. */
  readonly uplink: Pick<VmUplink, 'sendAfter' | 'takeBack' | 'traffic'> | undefined;
  /** The VM's QEMU. Undefined: what waits in its tap is not known. */
  readonly qemuPid: number | undefined;
  /** Unless given, that of the QEMU. */
  readonly tap?: TapQueue;
  readonly identity: PeerIdentity;
  readonly logger: Logger;
}

export function openPacketSwitch(parts: SwitchParts): PacketSwitch {
  const { move, uplink, qemuPid, identity, logger } = parts;
  const tap = parts.tap ?? (qemuPid === undefined ? undefined : openTapQueue(qemuPid));
  let droppedBefore: number | null = null;
  const dispatcher = move.flipAt === undefined ? undefined : dispatcherTo(move.flipAt, identity);
  const attempt = async (what: string, work: () => Promise<void>) => {
    await work().catch((err: unknown) =>
      logger.warn({ err }, `${what}: the VM moves all the same`),
    );
  };
  const tell = async (to: Flip['to']) => {
    const { flipAt } = move;
    if (flipAt === undefined || dispatcher === undefined) return;
    await attempt('the gateway did not flip', () => askFlip({ move, flipAt, dispatcher, to }));
  };
  return {
    // It is there: this changes nothing, and proves all that the flip needs.
    prepare: () => tell('source'),
    flip: async () => {
      droppedBefore = await readDropped(parts);
      await tell('target');
      const next = { host: move.peer.host, epoch: move.epoch };
      await attempt('nothing is sent after it', async () => await uplink?.sendAfter(next));
      if (tap !== undefined && uplink !== undefined) await drainTap(tap);
    },
    flipBack: async () => {
      await tell('source');
      await attempt('its packets do not come back', async () => await uplink?.takeBack());
    },
    dropped: async () => {
      const now = await readDropped(parts);
      return droppedBefore === null ? null : sumLosses(now, -droppedBefore);
    },
    leftInTap: () => countLeft(tap),
    close: async () => {
      tap?.close();
      await dispatcher?.destroy();
    },
  };
}

function countLeft(tap: TapQueue | undefined): number | null {
  try {
    return tap?.takeFrames() ?? null;
  } catch {
    // The tap went with its QEMU before it was read.
    return null;
  }
}

function dispatcherTo({ gatewayId }: FlipEndpoint, identity: PeerIdentity): Agent {
  return new Agent({
    connections: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    maxResponseSize: ANSWER_LIMIT_BYTES,
    connect: {
      ...peerTlsOf(identity),
      timeout: CALL_LIMIT_MS,
      checkServerIdentity: (_name, certificate) =>
        isCertificateOf(certificate, gatewayId)
          ? undefined
          : new Error(`Whoever answered is not gateway ${gatewayId}.`),
    },
  });
}

async function askFlip(asked: {
  readonly move: SendVm;
  readonly flipAt: FlipEndpoint;
  readonly dispatcher: Agent;
  readonly to: Flip['to'];
}): Promise<void> {
  const { move, flipAt, dispatcher, to } = asked;
  const { migrationId, vmId, credential } = move;
  const flip: Flip = { migrationId, vmId, proof: flipProofOf(credential), to };
  const { statusCode, body } = await httpRequest(`https://${flipAt.host}:${flipAt.port}/flip`, {
    ...{ dispatcher, method: 'POST', body: JSON.stringify(flip) },
    headers: { 'content-type': 'application/json' },
    signal: AbortSignal.timeout(CALL_LIMIT_MS),
  });
  const said = await body.text();
  if (statusCode !== 204) throw new Error(`The gateway answered ${statusCode}: ${said}`);
}
