/** Frames on the wire: JSON text, one message each (protocol/messages.ts). */
import type { z } from 'zod';
import { type AgentFrame, ControlFrame, MAX_FRAME_BYTES } from '../protocol/messages.ts';

export type ParsedFrame =
  | { readonly kind: 'frame'; readonly frame: ControlFrame }
  /** `what` names the fault, never the content: a frame may hold a secret. */
  | { readonly kind: 'malformed'; readonly what: string };

/** A WebSocket close reason holds at most 123 bytes (RFC 6455, 5.5.1). */
const WHAT_LIMIT = 120;

export function parseControlFrame(data: Buffer, isBinary: boolean): ParsedFrame {
  if (isBinary) return { kind: 'malformed', what: 'a binary frame' };
  let value: unknown;
  try {
    value = JSON.parse(data.toString('utf8'));
  } catch {
    return { kind: 'malformed', what: 'not JSON' };
  }
  const parsed = ControlFrame.safeParse(value);
  if (parsed.success) return { kind: 'frame', frame: parsed.data };
  return { kind: 'malformed', what: describeShape(parsed.error) };
}

/** Undefined when the frame would be larger than the other side accepts. */
export function encodeAgentFrame(frame: AgentFrame): string | undefined {
  const text = JSON.stringify(frame);
  return Buffer.byteLength(text) > MAX_FRAME_BYTES ? undefined : text;
}

function describeShape(error: z.ZodError): string {
  const places = error.issues.map((issue) => issue.path.join('.') || 'type');
  return `wrong at ${places.join(', ')}`.slice(0, WHAT_LIMIT);
}
