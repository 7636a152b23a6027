/**
 * What the image promises to the host-agent. Both sides read these names from here.
 *
 * The host-agent runs the two programs through the QEMU guest agent (`guest-exec`, data on standard
 * input, nothing secret in argv). Both are idempotent and end within seconds; exit code 0 is success, else
 * standard error says why.
 *
 *   renew-identity   stdin: RenewIdentity as JSON. Sets clock, random pool, machine id, boot id,
 *                    host name, addresses, routes, DNS; then prints the kernel's release. In the
 *                    background it switches CPUs on, grows the file system, makes SSH host keys and
 *                    waits for `size`: the job-started hook lets no step run before that is done.
 *   accept-job       stdin: the JIT configuration. Writes it 0600, then starts the runner, which
 *                    reads it into its environment and deletes the file before the first step.
 *                    argv[1], if given: SetupInfo as JSON, which the runner prints into the log.
 */
import { z } from 'zod';

export const RENEW_IDENTITY_PATH = '/opt/architect/renew-identity';
export const ACCEPT_JOB_PATH = '/opt/architect/accept-job';
export const JIT_CONFIG_PATH = '/run/architect/jitconfig';
/** One line, a RunnerState as JSON; rewritten atomically whenever the state changes. */
export const RUNNER_STATE_PATH = '/run/architect/runner-state';
/** virtio-serial port names, as udev shows them under /dev/virtio-ports. */
export const GUEST_AGENT_PORT = 'org.qemu.guest_agent.0';

export const RenewIdentity = z.object({
  hostname: z.string().max(63),
  /** 32 hexadecimal digits. */
  machineId: z.string().regex(/^[0-9a-f]{32}$/),
  bootId: z.uuid(),
  /** 64 bytes of the host's randomness, base64. */
  seed: z.base64(),
  unixTimeMs: z.int(),
  /** What the guest has to see of its class before a step runs. */
  size: z.object({ vcpus: z.int().min(1), memoryMib: z.int().min(1) }).optional(),
  network: z.object({
    address: z.ipv4(),
    gateway: z.ipv4(),
    mtu: z.int().min(1280).max(9216),
    dns: z.array(z.ipv4()).max(3),
  }),
});
export type RenewIdentity = Readonly<z.infer<typeof RenewIdentity>>;

/** `.setup_info` of the official runner: groups of lines for the log of "Set up job". */
export type SetupInfo = readonly { readonly group: string; readonly detail: string }[];

/** Every guest's network card: the same in all, since a template's guest remembers it. */
export const GUEST_MAC = '02:61:72:63:68:01';
