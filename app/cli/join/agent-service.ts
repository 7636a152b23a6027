/** The host-agent as a systemd service: where its files are and what stands in them. Pure. */
import type { AgentRole } from '../../../host-agent/protocol/enrolment.ts';

export const SERVICE_NAME = 'architect-agent.service';
export const UNIT_FILE = `/etc/systemd/system/${SERVICE_NAME}`;
export const SETTINGS_DIR = '/etc/architect-agent';
export const ENVIRONMENT_FILE = `${SETTINGS_DIR}/env`;
export const TOKEN_FILE = `${SETTINGS_DIR}/token`;
export const AGENT_DIR = '/var/lib/architect/agent';

/** What the operator may set for the agent when joining; see host-agent/config.ts. */
const PASSED_ON = [
  'ARCHITECT_FLEET',
  'ARCHITECT_ARTIFACTS',
  'ARCHITECT_AGENT_NAME',
  'ARCHITECT_AGENT_CAPACITY',
  'ARCHITECT_LOG_LEVEL',
  'ARCHITECT_GUEST_DNS',
  'ARCHITECT_GUEST_ALLOW',
  'ARCHITECT_UNDERLAY_MTU',
  'ARCHITECT_PEER_PORTS',
  'ARCHITECT_CHECKPOINT_SECONDS',
  'ARCHITECT_GATEWAY_PUBLIC',
  'ARCHITECT_GATEWAY_PREFIX6',
  'ARCHITECT_GATEWAY_OUTSIDE',
  'ARCHITECT_GATEWAY_PORT',
  'ARCHITECT_NOTICES',
  'ARCHITECT_METADATA_URL',
];

/** The agent's environment: its own folder and token, and what the operator set. */
export function agentEnvironment(
  operator: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const chosen = PASSED_ON.flatMap((name) => {
    const value = operator[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    ...Object.fromEntries(chosen),
    ARCHITECT_AGENT_DIR: AGENT_DIR,
    ARCHITECT_AGENT_TOKEN_FILE: TOKEN_FILE,
  };
}

/** systemd.exec(5), EnvironmentFile: double quotes, in which backslash, quote and dollar are escaped. */
export function formatEnvironmentFile(environment: Readonly<Record<string, string>>): string {
  const lines = Object.entries(environment).map(
    ([name, value]) => `${name}="${value.replaceAll(/[\\"$`]/g, '\\$&')}"\n`,
  );
  return lines.join('');
}

/** KillMode=process: VMs outlive their agent, and a restarted agent adopts them. */
export function formatUnit(paths: {
  readonly node: string;
  readonly agent: string;
  readonly role: AgentRole;
}): string {
  const role = paths.role === 'host' ? '' : ` --role ${paths.role}`;
  return `[Unit]
Description=Architect host-agent
After=network-online.target
Wants=network-online.target

[Service]
ExecStart="${paths.node}" "${paths.agent}"${role}
EnvironmentFile=${ENVIRONMENT_FILE}
Restart=always
RestartSec=2
KillMode=process
Delegate=yes
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`;
}
