/** Sends whole Ethernet frames out of a device (packet(7)); wants CAP_NET_RAW. */
import { closeSync, writeSync } from 'node:fs';
import { endianness } from 'node:os';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { z } from 'zod';
import { NetworkCommandError } from './net-errors.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
/** sockaddr_ll (linux/if_packet.h). */
const ADDRESS_BYTES = 20;

const libc = koffi.load('libc.so.6');
const openSocket = libc.func('int socket(int domain, int type, int protocol)');
const bindSocket = libc.func('int bind(int fd, void *address, unsigned int bytes)');
const Result = z.int();

/** In the caller's namespace. Throws NetworkCommandError, or what writing throws. */
export function sendFrames(ifindex: number, frames: readonly Buffer[]): void {
  // Protocol 0: nothing is received.
  const socket = checked(openSocket(AF_PACKET, SOCK_RAW, 0), 'open a packet socket');
  try {
    checked(bindSocket(socket, linkAddress(ifindex), ADDRESS_BYTES), 'bind a packet socket');
    for (const frame of frames) writeSync(socket, frame);
  } finally {
    closeSync(socket);
  }
}

function linkAddress(ifindex: number): Buffer {
  const address = Buffer.alloc(ADDRESS_BYTES);
  const isLittle = endianness() === 'LE';
  if (isLittle) address.writeUInt16LE(AF_PACKET, 0);
  else address.writeUInt16BE(AF_PACKET, 0);
  if (isLittle) address.writeInt32LE(ifindex, 4);
  else address.writeInt32BE(ifindex, 4);
  return address;
}

function checked(answer: unknown, doing: string): number {
  const result = Result.parse(answer);
  if (result >= 0) return result;
  throw new NetworkCommandError(`Could not ${doing}: ${getSystemErrorName(-koffi.errno())}.`);
}
