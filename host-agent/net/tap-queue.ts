/**
 * The frames that wait in a VM's tap for its QEMU. The tap belongs to QEMU's open file; this is a
 * duplicate of that (pidfd_getfd(2)), so what one reads the other does not get. Outside of the VM's
 * namespace: /proc/<pid>/net/dev is that of the process.
 */
import { closeSync, readdirSync, readFileSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { z } from 'zod';
import { TAP_NAME } from './vm-link-plan.ts';

/** The same on every architecture. */
const SYS = { pidfdOpen: 434, pidfdGetfd: 438 } as const;
const POLLIN = 1;
const POLLFD_BYTES = 8;
const EVENTS_AT = 4;
const RETURNED_EVENTS_AT = 6;
/** A frame that the kernel has not cut yet, and the header that QEMU asks for. */
const FRAME_BYTES = 128 * 1024;
/** The tap's own queue has no more. */
const MAX_FRAMES = 20_000;
const TX_DROPPED_COLUMN = 11;

const Result = z.int();
const libc = koffi.load('libc.so.6');
const syscall = libc.func('long syscall(long number, long a, long b, long c)');
const poll = libc.func('int poll(void *files, unsigned long count, int timeoutMs)');

export interface TapQueue {
  hasFrames(): boolean;
  /** Takes away what waits; how many frames that were. */
  takeFrames(): number;
  close(): void;
}

/** Undefined where the process is gone, holds no tap, or may not be looked into. */
export function openTapQueue(pid: number): TapQueue | undefined {
  const held = findTapFile(pid);
  if (held === undefined) return undefined;
  const fd = duplicate(pid, held);
  if (fd === undefined) return undefined;
  const hasFrames = () => isReadable(fd);
  const buffer = Buffer.alloc(FRAME_BYTES);
  return {
    hasFrames,
    takeFrames: () => {
      let taken = 0;
      while (taken < MAX_FRAMES && hasFrames() && readSync(fd, buffer) > 0) taken += 1;
      return taken;
    },
    close: () => closeSync(fd),
  };
}

/** Frames that the tap had no room for, since it was made. Undefined where the process is gone. */
export function readTapDrops(pid: number): number | undefined {
  const table = tryTo(() => readFileSync(`/proc/${pid}/net/dev`, 'utf8'));
  return table === undefined ? undefined : parseTapDrops(table);
}

/** Of proc_pid_net(5), "dev". */
export function parseTapDrops(table: string): number | undefined {
  const line = table.split('\n').find((one) => one.trimStart().startsWith(`${TAP_NAME}:`));
  const columns = line?.split(':')[1]?.trim().split(/\s+/);
  const dropped = Number(columns?.[TX_DROPPED_COLUMN]);
  return Number.isInteger(dropped) ? dropped : undefined;
}

function findTapFile(pid: number): number | undefined {
  const files = tryTo(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  const held = files.find((file) =>
    tryTo(() => readFileSync(`/proc/${pid}/fdinfo/${file}`, 'utf8'))?.includes(
      `iff:\t${TAP_NAME}\n`,
    ),
  );
  return held === undefined ? undefined : Number(held);
}

function duplicate(pid: number, file: number): number | undefined {
  const process = Result.parse(syscall(SYS.pidfdOpen, pid, 0, 0));
  if (process < 0) return undefined;
  try {
    const fd = Result.parse(syscall(SYS.pidfdGetfd, process, file, 0));
    return fd < 0 ? undefined : fd;
  } finally {
    closeSync(process);
  }
}

function isReadable(fd: number): boolean {
  const files = Buffer.alloc(POLLFD_BYTES);
  files.writeInt32LE(fd, 0);
  files.writeInt16LE(POLLIN, EVENTS_AT);
  const ready = Result.parse(poll(files, 1, 0));
  return ready > 0 && files.readInt16LE(RETURNED_EVENTS_AT) === POLLIN;
}

function tryTo<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
