/**
 * EC2's events about spot instances, as EventBridge puts them into a queue. Pure.
 *
 * EC2 User Guide, "Spot Instance interruption notices" and "EC2 instance rebalance recommendations";
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
 */
import { z } from 'zod';
import type { MachineNotice } from '../provider.ts';

/** The event names no end; the interruption comes that long after the warning. */
const WARNING_MS = 120_000;

const SpotEvent = z.object({
  source: z.literal('aws.ec2'),
  'detail-type': z.enum([
    'EC2 Spot Instance Interruption Warning',
    'EC2 Instance Rebalance Recommendation',
  ]),
  time: z.iso.datetime(),
  detail: z.object({ 'instance-id': z.string().regex(/^i-[0-9a-f]{8,17}$/) }),
});

/** Undefined: nothing about a spot instance, or nothing that can be read. */
export function readSpotEvent(body: string | undefined, nowMs: number): MachineNotice | undefined {
  const parsed = SpotEvent.safeParse(parseJson(body ?? ''));
  if (!parsed.success) return undefined;
  const { 'detail-type': type, time, detail } = parsed.data;
  const isWarning = type === 'EC2 Spot Instance Interruption Warning';
  return {
    machineId: detail['instance-id'],
    notice: {
      kind: isWarning ? 'interruption' : 'rebalance',
      deadlineMs: isWarning ? Date.parse(time) + WARNING_MS : null,
      source: 'ec2',
      seenAtMs: nowMs,
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
