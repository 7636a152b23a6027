/**
 * What the acting gateway tells one standby, as lines of JSON (FlowLine) for as long as the connection
 * lasts: first all flows, then what changes. A connection that breaks costs nothing but telling all
 * again. Between lines with flows empty ones say that this gateway is there.
 *
 *   read all, some at a time ─▶ those that must be told ─▶ lines, as fast as they are taken ─▶ pause ─┐
 *    ▲────────────────────────────────────────────────────────────────────────────────────────────────┘
 */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { setImmediate as breathe, setTimeout as sleep } from 'node:timers/promises';
import type { FlowTable } from '../net/switch-backend.ts';
import { type FlowSpec, MAX_FLOWS_PER_LINE } from '../protocol/gateway-messages.ts';
import { mustTell, type ToldFlows } from './flow-changes.ts';

/** A follower calls a gateway silent after four of these. */
export const BEAT_MS = 100;
const SCAN_PAUSE_MS = 100;
/** Scanning takes a fifth of the time at most. */
const PAUSE_PER_SCAN = 4;
/** So long, some milliseconds, nothing else is done. */
const FLOWS_PER_BREATH = 1_000;

/** Resolves when the signal comes or the standby has gone; rejects when flows cannot be read. */
export async function feedFlows(
  out: Writable,
  { table, signal }: { readonly table: FlowTable | undefined; readonly signal: AbortSignal },
): Promise<void> {
  const beat = setInterval(() => {
    if (out.writableLength === 0) out.write(lineOf([]));
  }, BEAT_MS);
  const told: ToldFlows = new Map();
  try {
    while (!signal.aborted) {
      const beganMs = performance.now();
      for await (const flows of changesOf(table, told)) {
        if (!out.write(lineOf(flows))) await once(out, 'drain', { signal });
      }
      const tookMs = performance.now() - beganMs;
      await sleep(Math.max(SCAN_PAUSE_MS, tookMs * PAUSE_PER_SCAN), undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearInterval(beat);
  }
}

async function* changesOf(
  table: FlowTable | undefined,
  told: ToldFlows,
): AsyncGenerator<readonly FlowSpec[]> {
  const nowNs = performance.now() * 1e6;
  let changed: FlowSpec[] = [];
  let seen = 0;
  for (const flow of table?.all() ?? []) {
    if (mustTell(told, flow, nowNs)) changed.push(flow);
    if (changed.length === MAX_FLOWS_PER_LINE) {
      yield changed;
      changed = [];
    }
    seen += 1;
    if (seen % FLOWS_PER_BREATH === 0) await breathe();
  }
  if (changed.length > 0) yield changed;
}

function lineOf(flows: readonly FlowSpec[]): string {
  return `${JSON.stringify({ flows })}\n`;
}
