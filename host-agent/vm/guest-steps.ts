/** What the driver does inside a guest, in the words of guest-contract.ts. */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { planGuestSide6 } from '../net/vm-link-plan6.ts';
import {
  ACCEPT_JOB_PATH,
  RENEW_IDENTITY_PATH,
  type RenewIdentity,
  RUNNER_STATE_PATH,
  type SetupInfo,
} from '../protocol/guest-contract.ts';
import { RunnerState } from '../protocol/vm-report.ts';
import type { GuestAgent } from './guest-agent/guest-agent.ts';
import type { AssignedJob, VmStart } from './vm-driver.ts';
import { GuestAgentError } from './vm-errors.ts';

const RENEW_TIMEOUT_MS = 60_000;
const ACCEPT_TIMEOUT_MS = 30_000;
const CLOCK_TIMEOUT_MS = 10_000;
/** Of coreutils. */
const DATE_PATH = '/bin/date';
const IPV6_TIMEOUT_MS = 30_000;
/** Of iproute2. */
const IP_PATH = '/sbin/ip';
const GUEST_LINK = 'eth0';
const SEED_BYTES = 64;
const MAX_STDERR = 300;
const MAX_RELEASE = 128;

/** A new identity: the caller's randomness and clock make this clone unlike any other. */
export function encodeIdentity(
  spec: VmStart,
  fresh: {
    readonly seed: Buffer;
    readonly machineId: string;
    readonly bootId: string;
    readonly nowMs: number;
  },
): RenewIdentity {
  const { guestAddress: address, gateway, mtu, dns } = spec.network;
  return {
    hostname: spec.vmId,
    machineId: fresh.machineId,
    bootId: fresh.bootId,
    seed: fresh.seed.toString('base64'),
    unixTimeMs: Math.round(fresh.nowMs),
    size: { vcpus: spec.class.vcpus, memoryMib: spec.class.memoryMib },
    network: { address, gateway, mtu, dns },
  };
}

/**
 * Answers the guest's kernel release, by its own word. Rejects with GuestAgentError; the guest must
 * then not be used, it may still be a twin.
 */
export async function renewIdentity(guest: GuestAgent, spec: VmStart): Promise<string> {
  const identity = encodeIdentity(spec, {
    seed: randomBytes(SEED_BYTES),
    machineId: randomBytes(16).toString('hex'),
    bootId: randomUUID(),
    nowMs: Date.now(),
  });
  const result = await guest.exec({
    path: RENEW_IDENTITY_PATH,
    stdin: JSON.stringify(identity),
    timeoutMs: RENEW_TIMEOUT_MS,
  });
  if (result.exitCode === 0) return result.stdout.trim().slice(0, MAX_RELEASE);
  const why = result.stderr.trim().slice(0, MAX_STDERR);
  throw new GuestAgentError(`The guest could not renew its identity: ${why}`);
}

/**
 * To a guest that is to have IPv6 its address and its default route. Another program than
 * renew-identity, which an image may have in an older version. Rejects with GuestAgentError.
 */
export async function giveIpv6(guest: GuestAgent, { network }: VmStart): Promise<void> {
  if (network.guestAddress6 === undefined) return;
  const result = await guest.exec({
    path: IP_PATH,
    args: ['-6', '-batch', '-'],
    stdin: planGuestSide6(network.guestAddress6, GUEST_LINK),
    timeoutMs: IPV6_TIMEOUT_MS,
  });
  if (result.exitCode === 0) return;
  const why = result.stderr.trim().slice(0, MAX_STDERR);
  throw new GuestAgentError(`The guest could not take its IPv6 address: ${why}`);
}

/** The configuration is a secret: it goes in on standard input and into no message of ours. */
export async function handInJob(
  guest: GuestAgent,
  { jitConfig, about }: Pick<AssignedJob, 'jitConfig' | 'about'>,
): Promise<void> {
  const setupInfo: SetupInfo = about === undefined ? [] : [{ group: 'Architect', detail: about }];
  const result = await guest.exec({
    path: ACCEPT_JOB_PATH,
    args: setupInfo.length === 0 ? [] : [JSON.stringify(setupInfo)],
    stdin: jitConfig,
    timeoutMs: ACCEPT_TIMEOUT_MS,
  });
  if (result.exitCode === 0) return;
  const why = result.stderr.replaceAll(jitConfig, '(secret)').trim().slice(0, MAX_STDERR);
  throw new GuestAgentError(`The guest could not accept the job: ${why}`);
}

/** Undefined when the guest does not answer or its file makes no sense: it is the guest's word. */
export async function readRunnerState(guest: GuestAgent): Promise<RunnerState | undefined> {
  try {
    const text = await guest.readFile(RUNNER_STATE_PATH);
    return text === undefined ? undefined : RunnerState.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/**
 * To this host's wall clock: the guest's stood still while the guest did. Never rejects. Not by
 * `guest-set-time`, which goes on to write a hardware clock that the guest has not (qemu:
 * qga/commands-posix.c) and leaves a warning in its log.
 */
export async function setClock(guest: GuestAgent, logger: Logger): Promise<void> {
  try {
    const args = ['--utc', `--set=@${(Date.now() / 1_000).toFixed(3)}`];
    const set = await guest.exec({ path: DATE_PATH, args, timeoutMs: CLOCK_TIMEOUT_MS });
    if (set.exitCode === 0) return;
    logger.warn({ why: set.stderr.slice(0, MAX_STDERR) }, "the guest's clock could not be set");
  } catch (err) {
    logger.warn({ err }, "the guest's clock could not be set");
  }
}
