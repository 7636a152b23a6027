/**
 * What a job's log says first, under "Set up job": where it runs, on what, for how much, and since
 * when. Pure. It is shown to whoever may read the log, and parts of it are a host's own words: one
 * line each, without what GitHub or a terminal would take for a command.
 */
import { formatInstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { FleetHost } from '../reconciler/ports.ts';
import { type HostPrice, shareOfHost } from '../records/job-cost.ts';
import type { VmRecord } from '../records/records.ts';

const MAX_LINE = 300;

export interface Placement {
  readonly vm: Pick<VmRecord, 'id' | 'hostId' | 'class' | 'pool' | 'createdAtMs'>;
  /** Undefined: its host is not connected at the moment. */
  readonly host: Pick<FleetHost, 'facts'> | undefined;
  /** Of its host, in the order of time. */
  readonly prices: readonly HostPrice[];
  readonly nowMs: number;
}

/** Lines, at most 2,000 characters. */
export function describePlacement({ vm, host, prices, nowMs }: Placement): string {
  const price = prices.at(-1);
  const offer = price?.offer == null ? '' : ` (${price.offer})`;
  const lines = [
    `Host: ${vm.hostId}${offer}`,
    `Processor: ${describeProcessor(vm, host)}`,
    `Class: ${formatInstanceClass(vm.class)}, ${vm.class.diskGib} GB disk`,
    `Price: ${describePrice(vm, price)}`,
    `VM: ${vm.id}, started ${new Date(vm.createdAtMs).toISOString()}`,
    `Runner: started ${new Date(nowMs).toISOString()}`,
  ];
  return lines.map(harmless).join('\n');
}

function describeProcessor({ pool }: Placement['vm'], host: Placement['host']): string {
  const accelerator = host?.facts?.accelerator ?? pool?.accelerator;
  const seen = pool === null ? '' : `, seen as ${pool.cpuModel}`;
  const by = accelerator === undefined ? '' : ` (${accelerator})`;
  return `${host?.facts?.cpu.modelName ?? 'not known'}${seen}${by}`;
}

function describePrice(vm: Placement['vm'], price: HostPrice | undefined): string {
  if (price === undefined) return 'none, its host is not bought by the hour';
  const share = shareOfHost(vm, price);
  const hourly = `$${(price.usdPerHour * share).toFixed(4)} an hour for its share of the host`;
  if (price.onDemandUsdPerHour === null) return hourly;
  return `${hourly}; on demand $${(price.onDemandUsdPerHour * share).toFixed(4)}`;
}

/** The log knows commands that begin with ## or ::, as elsewhere a control character does. */
function harmless(line: string): string {
  const printable = line.replaceAll(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, ' ');
  return printable.replaceAll(/##|::/g, ' ').slice(0, MAX_LINE);
}
