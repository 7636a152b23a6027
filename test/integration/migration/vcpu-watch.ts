/**
 * Whether a guest ran while nobody was to let it, seen from outside: the CPU time of QEMU's vCPU thread
 * (proc(5): schedstat). QEMU does not name its threads, but makes them in the same order in every VM
 * of a pool, and in one that has run for a while the vCPU's has worked most.
 */
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

const LOOK_MS = 10;
/** The thread ends, and frees what the process had (include/linux/sched.h, PF_EXITING). */
const EXITING = 0x4;
/** Field 9 of stat(5), counted from the state, which follows the name. */
const FLAGS_FIELD = 6;

export class VcpuWatch implements Disposable {
  readonly #path: string | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #beganNs: number;
  #lastNs: number;

  /** `place`: as `busiestThread` answers it for another VM of the pool. */
  constructor(pid: number, place: number) {
    this.#path = threadsOf(pid)[place];
    this.#beganNs = readRunNs(this.#path) ?? 0;
    this.#lastNs = this.#beganNs;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Since the watch began, until the process ended or now. */
  get ranMs(): number {
    this.#look();
    return (this.#lastNs - this.#beganNs) / 1e6;
  }

  #look(): void {
    this.#lastNs = readRunNs(this.#path) ?? this.#lastNs;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** The place of the thread that has run most, the main one aside, in the order of their beginning. */
export function busiestThread(pid: number): number {
  const times = threadsOf(pid).map((path) => readRunNs(path) ?? 0);
  return times.indexOf(Math.max(...times));
}

function threadsOf(pid: number): readonly string[] {
  const all = globSync(`/proc/${pid}/task/*`).filter((path) => basename(path) !== String(pid));
  return all.toSorted((a, b) => Number(basename(a)) - Number(basename(b)));
}

function readRunNs(path: string | undefined): number | undefined {
  if (path === undefined) return undefined;
  try {
    const [ns] = readFileSync(`${path}/schedstat`, 'utf8').split(' ');
    const stat = readFileSync(`${path}/stat`, 'utf8');
    const flags = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[FLAGS_FIELD]);
    return (flags & EXITING) === 0 ? Number(ns) : undefined;
  } catch {
    return undefined;
  }
}
