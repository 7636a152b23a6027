/**
 * The QEMU guest agent's messages (QEMU qga/qapi-schema.json). Everything in them is the guest's
 * word, and the guest is hostile: every field is bounded here.
 */
import { z } from 'zod';

/** One answer's line; a 1 MiB file is 1.4 MB of base64. */
export const MAX_ANSWER_BYTES = 2 * 1024 * 1024;

const Reply = z.union([
  z.object({ return: z.unknown() }),
  z.object({ error: z.object({ class: z.string(), desc: z.string() }) }),
]);

export type GuestReply =
  | { readonly kind: 'answer'; readonly value: unknown }
  | { readonly kind: 'failure'; readonly text: string };

/** Undefined for a line that is no reply: the caller drops it. */
export function parseGuestReply(line: Buffer): GuestReply | undefined {
  // guest-sync-delimited puts a 0xFF before its answer, so that the client finds a clean start.
  const clean = line.subarray(line.lastIndexOf(0xff) + 1);
  let value: unknown;
  try {
    value = JSON.parse(clean.toString('utf8'));
  } catch {
    return undefined;
  }
  const reply = Reply.safeParse(value).data;
  if (reply === undefined) return undefined;
  if ('error' in reply) return { kind: 'failure', text: reply.error.desc.slice(0, 500) };
  return { kind: 'answer', value: reply.return };
}

export const ExecStarted = z.object({ pid: z.int() });

const Base64Text = z.base64().max(MAX_ANSWER_BYTES);

export const ExecStatus = z.object({
  exited: z.boolean(),
  exitcode: z.int().optional(),
  signal: z.int().optional(),
  'out-data': Base64Text.optional(),
  'err-data': Base64Text.optional(),
});

export const FileRead = z.object({
  count: z.int().min(0),
  'buf-b64': Base64Text,
  eof: z.boolean(),
});

export interface ExecResult {
  /** Undefined when a signal ended the program. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export function readExecStatus(status: z.infer<typeof ExecStatus>): ExecResult | undefined {
  if (!status.exited) return undefined;
  return {
    exitCode: status.signal === undefined ? status.exitcode : undefined,
    stdout: decode(status['out-data']),
    stderr: decode(status['err-data']),
  };
}

function decode(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString('utf8');
}
