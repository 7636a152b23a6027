/**
 * A listening address in another network namespace. A socket belongs to the namespace that its
 * thread is in when it is made (setns(2), socket(2)), so the main thread goes there for that one
 * call, in which nothing else of this process can run on it.
 */
import { closeSync, openSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { z } from 'zod';
import { ArchitectError } from '../protocol/errors.ts';
import { toInteger } from '../protocol/ipv4-number.ts';

export class NamespaceSocketError extends ArchitectError {
  readonly code = 'NAMESPACE_SOCKET';
  readonly retry = 'later';
}

const CLONE_NEWNET = 0x4000_0000;
const AF_INET = 2;
const SOCK_STREAM_CLOEXEC = 1 | 0o2_000_000;
const SOL_SOCKET = 1;
const SO_REUSEPORT = 15;
const ADDRESS_BYTES = 16;

const Result = z.int();
const libc = koffi.load('libc.so.6');
const setns = libc.func('int setns(int fd, int type)');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, void *address, uint length)');
const setsockopt = libc.func(
  'int setsockopt(int fd, int level, int name, void *value, uint length)',
);

/**
 * A TCP socket that is bound there, not listening yet: its descriptor. An earlier owner that has not
 * quite ended is in nobody's way. Throws NamespaceSocketError; nothing is left open then.
 */
export function bindInNamespace(
  netnsPath: string,
  { address, port }: { readonly address: string; readonly port: number },
): number {
  const fd = makeSocket(netnsPath);
  try {
    const one = Buffer.alloc(4);
    one.writeInt32LE(1);
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, one, one.length), 'set SO_REUSEPORT');
    check(bind(fd, socketAddress(address, port), ADDRESS_BYTES), `bind ${address}:${port}`);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function makeSocket(netnsPath: string): number {
  const own = openNamespace('/proc/thread-self/ns/net');
  try {
    const there = openNamespace(netnsPath);
    try {
      check(setns(there, CLONE_NEWNET), `enter ${netnsPath}`);
      try {
        return check(socket(AF_INET, SOCK_STREAM_CLOEXEC, 0), 'make a socket');
      } finally {
        returnTo(own);
      }
    } finally {
      closeSync(there);
    }
  } finally {
    closeSync(own);
  }
}

/** An agent in a guest's namespace must do nothing more. */
function returnTo(own: number): void {
  if (Result.parse(setns(own, CLONE_NEWNET)) !== 0) process.abort();
}

function openNamespace(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new NamespaceSocketError(`There is no network namespace ${path}.`, { cause });
  }
}

function check(answer: unknown, doing: string): number {
  const result = Result.parse(answer);
  if (result >= 0) return result;
  const name = getSystemErrorName(-koffi.errno());
  throw new NamespaceSocketError(`The kernel refused to ${doing}: ${name}.`);
}

/** struct sockaddr_in. */
function socketAddress(address: string, port: number): Buffer {
  const encoded = Buffer.alloc(ADDRESS_BYTES);
  encoded.writeUInt16LE(AF_INET, 0);
  encoded.writeUInt16BE(port, 2);
  encoded.writeUInt32BE(toInteger(address), 4);
  return encoded;
}
