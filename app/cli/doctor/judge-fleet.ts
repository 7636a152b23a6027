/** The hosts, as the control plane sees them. Pure. */
import type { PoolSpec } from '../../../host-agent/protocol/host-facts.ts';
import type { HostView } from '../../api/views.ts';
import { type Finding, failed, fine, warning } from './finding.ts';

export interface SeenFleet {
  readonly provider: 'local' | 'static' | 'ec2';
  readonly hosts: readonly HostView[];
  readonly pool: PoolSpec;
}

export function judgeFleet({ provider, hosts, pool }: SeenFleet): readonly Finding[] {
  const connected = hosts.filter(({ state }) => state === 'connected');
  const ready = connected.filter(({ artifacts }) => hasImage(artifacts, pool));
  return [
    ...hosts.flatMap((host) => judgeHost(host, pool)),
    ...(connected.length === 0 ? [noHost(provider)] : []),
    ...(ready.length > 0
      ? [fine('hosts', `${ready.length} of ${hosts.length} can take jobs.`)]
      : []),
  ];
}

function noHost(provider: SeenFleet['provider']): Finding {
  const fixes = {
    local: "The control plane's log says why none came up.",
    static: 'Run architect host token here and, on the machine, architect host join TOKEN.',
    ec2: 'Queue a job, and see architect offers for what is bought and why not.',
  };
  return failed('hosts', 'No host is connected and admitted, so no job can run.', fixes[provider]);
}

function judgeHost(
  { id, hostname, state, why, facts, artifacts }: HostView,
  pool: PoolSpec,
): readonly Finding[] {
  const name = `${hostname} (${id})`;
  if (state === 'turned-away')
    return [
      failed(
        'hosts',
        `${name} was turned away: ${why ?? 'it does not fit the pool'}`,
        'Put that right there, or take it out: architect host revoke ID.',
      ),
    ];
  if (state === 'away')
    return [
      warning(
        'hosts',
        `${name} is away.`,
        'On it: systemctl status architect-agent, and journalctl -u architect-agent.',
      ),
    ];
  const found: Finding[] = [];
  if (facts?.accelerator === 'tcg')
    found.push(
      warning(
        'hosts',
        `${name} runs VMs under ${facts.acceleratorWhy}.`,
        'Take a machine with hardware virtualisation, or switch it on.',
      ),
    );
  if (!hasImage(artifacts, pool))
    found.push(
      warning(
        'hosts',
        `${name} does not have the image and template yet.`,
        'It fetches them; if it stays so, see its log for why, and its disk.',
      ),
    );
  return found;
}

function hasImage(artifacts: HostView['artifacts'], { image, template }: PoolSpec): boolean {
  return artifacts.includes(image) && artifacts.includes(template);
}
