/**
 * The host-agent, put together from its parts.
 *
 *   claim the folder → identity (enrolled on first start) ∥ facts → recover VMs → connect → serve
 *
 * Invariants:
 * - VMs outlive the agent: when the signal comes, it disconnects and lets go of them. They belong
 *   to the fleet, and a job must not notice that its host's agent was restarted or updated.
 * - VMs of an earlier agent are found before the control plane hears of this one, so that the first
 *   report is whole.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { liveIn } from './agent-life.ts';
import { ArtifactKeeper } from './artifacts/artifact-keeper.ts';
import { sweepStaging } from './artifacts/artifact-store.ts';
import type { AgentConfig } from './config.ts';
import { addressTowards } from './control/address-towards.ts';
import type { Identity } from './control/identity.ts';
import { ControlLink } from './control/link.ts';
import type { LinkState } from './control/link-state.ts';
import { obtainIdentity } from './control/obtain-identity.ts';
import type { StatusFile } from './control/status-file.ts';
import { createDispatcher } from './control/tls.ts';
import { GuestApi } from './guest-api/guest-api.ts';
import { serveGuests } from './guest-api/serve-guests.ts';
import { hostTag } from './host-tag.ts';
import { readHostFacts } from './inventory/read-host-facts.ts';
import { JournalStore } from './journal/journal-store.ts';
import { KeyRing } from './migration/key-ring.ts';
import { type Mobility, TemplateMemories } from './migration/mobility.ts';
import { controlPlanePrefixes } from './net/control-plane-addresses.ts';
import { NEVER, PRIVATE } from './net/guest-policy.ts';
import { openHostSwitch } from './net/open-switch.ts';
import { chooseResolvers } from './net/resolvers.ts';
import { guestMtu } from './net/vm-link-plan.ts';
import { openVmNetworks } from './net/vm-networks.ts';
import { onUnderlay, type Underlay } from './net/wireguard/open-underlay.ts';
import { watchNotices } from './notices/watch-notices.ts';
import type { AgentStatus } from './protocol/agent-status.ts';
import { askAgain } from './protocol/guest-api.ts';
import type { HostFacts } from './protocol/host-facts.ts';
import type { HostNotice } from './protocol/host-notice.ts';
import { type Hello, PROTOCOL_VERSION } from './protocol/messages.ts';
import type { StoreSpec } from './protocol/store-spec.ts';
import { MemoryWarmer } from './supervisor/memory-warmer.ts';
import type { Networks, VmDrivers } from './supervisor/ports.ts';
import { Supervisor } from './supervisor/supervisor.ts';
import { probeAccelerator } from './vm/accelerator.ts';

const TIDY_INTERVAL_MS = 30_000;

export interface AgentParts {
  readonly config: AgentConfig;
  readonly drivers: VmDrivers;
  readonly agentVersion: string;
  readonly logger: Logger;
  /** Ends the agent; VMs go on. */
  readonly signal: AbortSignal;
  /** In place of the machine's own, for tests. */
  readonly networks?: Networks;
}

/**
 * Runs until the signal. Throws what keeps a host from being one: EnrolmentError,
 * UnsuitableHostError, AgentRunsAlreadyError; the status file then says why.
 */
export async function runAgent(parts: AgentParts): Promise<void> {
  const { config, logger, signal } = parts;
  const { agentDir, vmsDir } = config;
  await liveIn({ agentDir, logger, signal }, async (status) => {
    await mkdir(vmsDir, { recursive: true, mode: 0o711 });
    await runEnrolled(parts, status);
  });
}

async function runEnrolled(parts: AgentParts, status: StatusFile): Promise<void> {
  const { config, logger, signal } = parts;
  const [identity, facts] = await Promise.all([obtainIdentity(parts), measure(parts)]);
  const address = await addressTowards(identity.url);
  await onUnderlay({ ...config, identity, address, logger, signal }, (underlay) =>
    runOn(underlay, { ...parts, identity, address, facts, status }),
  );
}

async function runOn(
  underlay: Underlay,
  parts: AgentParts &
    Pick<Parameters<typeof serve>[0], 'identity' | 'address' | 'facts' | 'status'>,
): Promise<void> {
  const { config, identity, logger } = parts;
  const { signal } = underlay;
  const networks = parts.networks ?? (await openNetworks({ config, identity, underlay, logger }));
  const dispatcher = createDispatcher(identity);
  try {
    for (const name of await sweepStaging(config.artifactsDir, Date.now())) {
      logger.info({ name }, 'removed an abandoned artifact');
    }
    const source = { url: identity.url, dispatcher };
    const facts = { ...parts.facts, underlay: underlay.address };
    await serve({ ...parts, signal, facts, networks, source });
  } finally {
    await dispatcher.destroy();
  }
}

async function serve(parts: {
  readonly config: AgentConfig;
  readonly drivers: VmDrivers;
  readonly agentVersion: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly identity: Identity;
  /** On the network that it shares with its peers. */
  readonly address: string;
  readonly facts: HostFacts;
  readonly networks: Networks;
  readonly source: ConstructorParameters<typeof ArtifactKeeper>[0]['source'];
  readonly status: StatusFile;
}): Promise<void> {
  const { config, facts, identity, signal, source, status } = parts;
  const logger = parts.logger.child({ hostId: identity.hostId });
  let link: ControlLink | undefined;
  let notice: HostNotice | null = null;
  const shared = { nowMs: Date.now, logger, onChange: () => link?.changed() };
  const { artifactsDir: storeDir, agentDir, fleet, vmsDir } = config;
  const memories = new TemplateMemories();
  let store: StoreSpec | undefined;
  const artifactParts = { ...shared, storeDir, source, store: () => store, signal };
  const { artifacts, warmer } = keepArtifacts(artifactParts, memories);
  const journals = new JournalStore(agentDir);
  const { drivers, address } = parts;
  const guests = new GuestApi({
    ask: async (vmId, ask) => (await link?.ask(vmId, ask)) ?? askAgain('The host-agent starts.'),
    logger,
  });
  const networks = serveGuests(parts.networks, guests);
  const world = { drivers, networks, journals, artifacts };
  const mobility = openMobility({ config, identity, address, memories, store: () => store });
  const supervisor = new Supervisor({
    ...shared,
    ...world,
    mobility,
    fleet,
    tag: hostTag(identity.hostId),
    vmsDir,
    capacity: facts.capacity,
  });
  await artifacts.open();
  await supervisor.recover();
  link = new ControlLink({
    ...shared,
    identity,
    hello: helloOf(facts, parts.agentVersion),
    picture: () => ({ ...supervisor.picture(), notice }),
    serve: (request) => supervisor.serve(request),
    onAdmitted: (pool, named) => {
      store = named;
      supervisor.admit(pool);
      warmer.admit(pool);
    },
    onState: (state) => void status.show(statusOf(state, Date.now())),
  });
  const onNotice = (latest: HostNotice | null) => {
    notice = latest;
    link?.changed();
  };
  const { notices: mode, metadataUrl } = config;
  const watching = watchNotices({ ...shared, mode, metadataUrl, signal, onNotice });
  link.start();
  await tidyUntil(signal, supervisor, logger);
  await watching;
  link.end();
  guests.end();
  await supervisor.detach();
}

function openMobility({
  config,
  identity,
  address,
  memories,
  store,
}: Pick<Mobility, 'address' | 'memories' | 'store'> & {
  readonly config: AgentConfig;
  readonly identity: Identity;
}): Mobility {
  const { hostId } = identity;
  return {
    ...{ identity, hostId, address, memories, store, ports: config.peerPorts },
    keys: new KeyRing(hostTag(hostId)),
    checkpointIntervalMs: config.checkpointIntervalMs,
  };
}

/** A template's memory is read soon after the template is here. */
function keepArtifacts(
  parts: ConstructorParameters<typeof ArtifactKeeper>[0],
  memories: TemplateMemories,
): { readonly artifacts: ArtifactKeeper; readonly warmer: MemoryWarmer } {
  const onChange = () => {
    parts.onChange();
    warmer.look();
  };
  const artifacts = new ArtifactKeeper({ ...parts, onChange });
  const warmer = new MemoryWarmer({ artifacts, memories, logger: parts.logger });
  return { artifacts, warmer };
}

async function tidyUntil(signal: AbortSignal, supervisor: Supervisor, logger: Logger) {
  while (!signal.aborted) {
    await sleep(TIDY_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    await supervisor.tidy().catch((error: unknown) => {
      logger.error({ err: error }, 'tidying up failed; trying again');
    });
  }
}

async function measure({ config, signal }: AgentParts): Promise<HostFacts> {
  const accelerator = await probeAccelerator();
  const { vmsDir, capacity } = config;
  return await readHostFacts({ accelerator, vmsDir, capacity, signal });
}

async function openNetworks(parts: {
  readonly config: AgentConfig;
  readonly identity: Identity;
  readonly underlay: Underlay;
  readonly logger: Logger;
}): Promise<Networks> {
  const { config, underlay, logger } = parts;
  const { url, hostId } = parts.identity;
  const resolvConf = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
  const deny = [...(await controlPlanePrefixes(url, logger)), ...underlay.deny];
  const { fleet, guestRate: rate, guestAllow: allow } = config;
  const { address, mtu: underlayMtu } = underlay;
  const dns = chooseResolvers(config.guestDns, resolvConf);
  const reach = { never: [...NEVER, ...deny], allow, private: PRIVATE, dns };
  const mtu = guestMtu(underlayMtu);
  const guard = { reach, rate };
  const hostSwitch = openHostSwitch({ fleet, underlay: address, mtu, guard, logger });
  const tag = hostTag(hostId);
  return await openVmNetworks({
    ...{ fleet, tag, underlayMtu, dns, allow, deny, rate },
    hostSwitch,
    logger,
  });
}

function helloOf(facts: HostFacts, agentVersion: string): Hello {
  return { type: 'hello', protocol: PROTOCOL_VERSION, agentVersion, bootId: randomUUID(), facts };
}

function statusOf(state: LinkState, atMs: number): AgentStatus {
  switch (state.kind) {
    case 'admitted':
      return { state: 'admitted', atMs, hostId: state.hostId, pool: state.pool.id };
    case 'turned-away':
      return { state: 'turned-away', atMs, why: state.why };
    case 'waiting':
    case 'connecting':
    case 'greeting':
      return { state: 'connecting', atMs };
  }
}
