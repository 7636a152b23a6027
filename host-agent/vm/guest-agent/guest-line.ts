/** One request and its answer over the guest's port, without any idea of what is said. */
import { connectWhenListening, type LineSocket, openLines } from '../line-socket.ts';
import { GuestAgentError } from '../vm-errors.ts';
import { type GuestReply, MAX_ANSWER_BYTES, parseGuestReply } from './guest-message.ts';

/** A hostile guest may send what nobody asked for, in long lines or many: past this, hang up. */
const MAX_STRAY_LINES = 10_000;
const MAX_STRAY_BYTES = 16 * 1024 * 1024;

export interface GuestLine {
  /** Sends, and resolves with the first reply that `accept` takes; others are dropped. */
  exchange(exchange: {
    readonly bytes: string | Uint8Array;
    readonly accept: (reply: GuestReply) => boolean;
    readonly timeoutMs: number;
  }): Promise<GuestReply>;
  close(): void;
}

interface Waiting {
  readonly take: (reply: GuestReply) => boolean;
  readonly fail: (error: GuestAgentError) => void;
}

/** Connects to QEMU's end of the port; the guest need not run yet. The signal is the time limit. */
export async function openGuestLine(path: string, signal: AbortSignal): Promise<GuestLine> {
  const socket = await connectWhenListening(path, signal);
  let waiting: Waiting | undefined;
  let ended: GuestAgentError | undefined;
  let strayLines = 0;
  let strayBytes = 0;
  const lines: LineSocket = openLines(socket, {
    maxLineBytes: MAX_ANSWER_BYTES,
    handlers: {
      onLine: (line) => {
        const reply = parseGuestReply(line);
        if (reply !== undefined && waiting?.take(reply) === true) return;
        strayLines += 1;
        strayBytes += line.length;
        if (strayLines > MAX_STRAY_LINES || strayBytes > MAX_STRAY_BYTES)
          lines.close('the guest sends without being asked');
      },
      onClose: (why) => {
        ended = new GuestAgentError(`The guest agent's port is closed: ${why}.`);
        waiting?.fail(ended);
      },
    },
  });
  const exchange: GuestLine['exchange'] = ({ bytes, accept, timeoutMs }) =>
    new Promise((resolve, reject) => {
      if (ended !== undefined) return reject(ended);
      const finish = () => {
        clearTimeout(timer);
        waiting = undefined;
      };
      const fail = (error: GuestAgentError) => {
        finish();
        reject(error);
      };
      const late = () => fail(new GuestAgentError(`The guest did not answer in ${timeoutMs} ms.`));
      const timer = setTimeout(late, timeoutMs);
      const take = (reply: GuestReply) => {
        if (!accept(reply)) return false;
        finish();
        resolve(reply);
        return true;
      };
      waiting = { take, fail };
      lines.send(bytes);
    });
  return { exchange, close: () => lines.close() };
}
