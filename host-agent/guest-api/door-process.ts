/**
 * The process that guests' requests come to, one for all VMs of a host: it has no privileges, knows
 * no secret, and does nothing but read HTTP and ask the agent. It is given each VM's listening
 * socket, and ends with the agent.
 */
import type { Server as HttpServer } from 'node:http';
import { Server } from 'node:net';
import { ASK_LIMIT_MS, askAgain, type GuestAnswer, type GuestAsk } from '../protocol/guest-api.ts';
import type { VmId } from '../protocol/ids.ts';
import { type FromDoor, ToDoor } from './door-messages.ts';
import { createHttpDoor } from './http-door.ts';

/** As QEMU's capture user (vm/qemu-user.ts): a number that nothing else has. */
const DOOR_USER = 64_056;
/** The agent gives its own answer by then. */
const AGENT_LIMIT_MS = ASK_LIMIT_MS + 1_000;

const doors = new Map<VmId, HttpServer>();
const waiting = new Map<number, (answer: GuestAnswer) => void>();
let lastAskId = 0;

dropPrivileges();
process.on('disconnect', () => process.exit());
process.on('message', (message, handle) => {
  const told = ToDoor.parse(message);
  if (told.kind === 'answer') waiting.get(told.askId)?.(told.answer);
  else close(told.vmId);
  if (told.kind === 'open' && handle instanceof Server) open(told.vmId, handle);
});

function open(vmId: VmId, listening: Server): void {
  const door = createHttpDoor((ask) => askAgent(vmId, ask));
  doors.set(vmId, door);
  door.listen(listening);
}

function close(vmId: VmId): void {
  doors.get(vmId)?.close().closeAllConnections();
  doors.delete(vmId);
}

async function askAgent(vmId: VmId, ask: GuestAsk): Promise<GuestAnswer> {
  lastAskId += 1;
  const askId = lastAskId;
  const { promise, resolve } = Promise.withResolvers<GuestAnswer>();
  waiting.set(askId, resolve);
  const late = setTimeout(() => resolve(askAgain('The host-agent is busy.')), AGENT_LIMIT_MS);
  process.send?.({ kind: 'ask', askId, vmId, ask } satisfies FromDoor);
  const answer = await promise;
  clearTimeout(late);
  waiting.delete(askId);
  return answer;
}

function dropPrivileges(): void {
  if (process.getuid?.() !== 0) return;
  process.setgroups?.([]);
  process.setgid?.(DOOR_USER);
  process.setuid?.(DOOR_USER);
}
