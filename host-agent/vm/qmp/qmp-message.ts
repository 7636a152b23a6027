/** QMP's messages, checked where they enter (QEMU docs/interop/qmp-spec.rst). */
import { z } from 'zod';
import { QmpProtocolError } from '../vm-errors.ts';

const Greeting = z.object({
  QMP: z.object({
    version: z.object({
      qemu: z.object({ major: z.int(), minor: z.int(), micro: z.int() }),
      package: z.string().max(200),
    }),
  }),
});

const Answer = z.object({ return: z.unknown(), id: z.int() });
const Failure = z.object({
  error: z.object({ class: z.string().max(100), desc: z.string().max(10_000) }),
  id: z.int().optional(),
});
const Event = z.object({
  event: z.string().max(100),
  data: z.record(z.string(), z.unknown()).optional(),
});

export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export type QmpMessage =
  | { readonly kind: 'greeting'; readonly qemuVersion: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | {
      readonly kind: 'failure';
      readonly id: number | undefined;
      readonly errorClass: string;
      readonly text: string;
    }
  | { readonly kind: 'event'; readonly event: QmpEvent };

/** Throws QmpProtocolError for anything that is no QMP message. */
export function parseQmpMessage(line: Buffer): QmpMessage {
  const value = parseJson(line);
  const event = Event.safeParse(value).data;
  if (event !== undefined) {
    return { kind: 'event', event: { name: event.event, data: event.data ?? {} } };
  }
  const failure = Failure.safeParse(value).data;
  if (failure !== undefined) {
    const { class: errorClass, desc: text } = failure.error;
    return { kind: 'failure', id: failure.id, errorClass, text };
  }
  const greeting = Greeting.safeParse(value).data;
  if (greeting !== undefined) {
    const { major, minor, micro } = greeting.QMP.version.qemu;
    return { kind: 'greeting', qemuVersion: `${major}.${minor}.${micro}` };
  }
  const answer = Answer.safeParse(value).data;
  if (answer === undefined) throw new QmpProtocolError('QEMU sent a line that is no QMP message.');
  return { kind: 'answer', id: answer.id, value: answer.return };
}

function parseJson(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch (cause) {
    throw new QmpProtocolError('QEMU sent a line that is no JSON.', { cause });
  }
}
