/** Loads programs into the kernel, and runs them on a packet for tests. */
import { closeSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfObjectError } from './bpf-errors.ts';
import { attributes, BPF, bpf, kernelRefused, tryBpf } from './kernel.ts';
import { createMap, type MapDefinition } from './kernel-map.ts';
import { type ObjectFile, parseObjectFile } from './object-file.ts';

/** Where `make -C bpf` puts its objects. */
export const OBJECTS_FOLDER = join(import.meta.dirname, '../../../bpf/build');

const PROGRAM_TYPE_TC = 3;
const VERIFIER_LOG_BYTES = 1024 * 1024;
const LOG_LINES_SHOWN = 40;
const NAME_CHARACTERS = 15;
/** BPF_PSEUDO_MAP_FD, in the upper half of an instruction's second byte. */
const MAP_DESCRIPTOR = 0x10;
const FRAME_BYTES = 66_000;
/** Of struct __sk_buff; `cb` is at 48. */
const CONTEXT_BYTES = 192;
const CB_OFFSET = 48;
const CB_WORDS = 5;
const IFINDEX_OFFSET = 40;

export type ProgramName =
  | 'host-tap'
  | 'host-uplink'
  | 'host-link'
  | 'host-vxlan'
  | 'gateway-vxlan'
  | 'gateway-outside';

export interface OpenMap {
  readonly fd: number;
  readonly definition: MapDefinition;
}
export type MapSet = Map<string, OpenMap>;

export function readObject(name: ProgramName, folder = OBJECTS_FOLDER): ObjectFile {
  const path = join(folder, `${name}.o`);
  try {
    return parseObjectFile(readFileSync(path));
  } catch (cause) {
    const why = cause instanceof BpfObjectError ? cause.message : 'Run `make -C bpf`.';
    throw new BpfObjectError(`${path} is no program of the switch. ${why}`, { cause });
  }
}

/** Makes the object's maps that `maps` lacks. */
export function createMaps(object: ObjectFile, maps: MapSet): void {
  for (const [name, definition] of object.maps) {
    if (!maps.has(name)) maps.set(name, { fd: createMap(name, definition), definition });
  }
}

/** Whether each map that the object wants is there in that shape. */
export function fits(object: ObjectFile, maps: MapSet): boolean {
  return [...object.maps].every(([name, wanted]) => {
    const found = maps.get(name)?.definition;
    return (
      wanted.type === found?.type &&
      wanted.keyBytes === found.keyBytes &&
      wanted.valueBytes === found.valueBytes &&
      wanted.maxEntries === found.maxEntries
    );
  });
}

/** A loaded program's descriptor. On refusal BpfError with the end of the verifier's log. */
export function loadProgram(
  object: ObjectFile,
  maps: MapSet,
  constants: Readonly<Record<string, number>> = {},
): number {
  const instructions = relocate(object, maps, constants);
  const license = Buffer.from(`${object.license}\0`);
  const fields = [
    [0, PROGRAM_TYPE_TC],
    [4, instructions.length / 8],
    [8, instructions],
    [16, license],
  ] as const;
  const encoded = attributes(...fields);
  encoded.write(object.program.slice(0, NAME_CHARACTERS), 48, 'latin1');
  const fd = tryBpf(BPF.programLoad, encoded);
  if (fd >= 0) return fd;
  const log = Buffer.alloc(VERIFIER_LOG_BYTES);
  tryBpf(BPF.programLoad, attributes(...fields, [24, 1], [28, log.length], [32, log]));
  const lines = log.toString('latin1', 0, log.indexOf(0)).trimEnd().split('\n');
  const said = lines.slice(-LOG_LINES_SHOWN).join('\n');
  throw kernelRefused(`load ${object.program}`, -fd, said);
}

function relocate(
  object: ObjectFile,
  maps: MapSet,
  constants: Readonly<Record<string, number>>,
): Buffer {
  const instructions = Buffer.from(object.instructions);
  for (const { offset, symbol } of object.relocations) {
    const value = maps.get(symbol)?.fd ?? constants[symbol];
    if (value === undefined) throw new BpfObjectError(`Nothing was given for ${symbol}.`);
    if (maps.has(symbol)) {
      const registers = instructions.readUInt8(offset + 1) & 0xf;
      instructions.writeUInt8(registers | MAP_DESCRIPTOR, offset + 1);
    }
    instructions.writeUInt32LE(value, offset + 4);
    instructions.writeUInt32LE(0, offset + 12);
  }
  return instructions;
}

export interface TestRun {
  readonly frame: Buffer;
  /** Words of skb->cb; objects of build/test keep the tunnel there (bpf/tunnel.h). */
  readonly cb?: readonly number[];
  readonly ifindex?: number;
  /** On the same packet, as the run before left it; once unless said. */
  readonly repeat?: number;
}

export interface TestRunResult {
  /** TC_ACT_…. */
  readonly verdict: number;
  readonly frame: Buffer;
  readonly cb: readonly number[];
  /** Mean of the runs, as the kernel measured them. */
  readonly nanoseconds: number;
}

/** BPF_PROG_TEST_RUN: the program on one packet, which goes nowhere. */
export function testRun(program: number, run: TestRun): TestRunResult {
  const { frame, cb = [], ifindex = 0, repeat = 1 } = run;
  const out = Buffer.alloc(FRAME_BYTES);
  const context = Buffer.alloc(CONTEXT_BYTES);
  for (const [n, word] of cb.entries()) context.writeUInt32LE(word, CB_OFFSET + 4 * n);
  context.writeUInt32LE(ifindex, IFINDEX_OFFSET);
  const contextOut = Buffer.alloc(CONTEXT_BYTES);
  const encoded = attributes(
    [0, program],
    [8, frame.length],
    [12, out.length],
    [16, frame],
    [24, out],
    [32, repeat],
    [40, context.length],
    [44, contextOut.length],
    [48, context],
    [56, contextOut],
  );
  bpf(BPF.programTestRun, encoded, 'run a program on a packet');
  return {
    verdict: encoded.readInt32LE(4),
    nanoseconds: encoded.readUInt32LE(36),
    frame: Buffer.from(out.subarray(0, encoded.readUInt32LE(12))),
    cb: Array.from({ length: CB_WORDS }, (_, n) => contextOut.readUInt32LE(CB_OFFSET + 4 * n)),
  };
}

/** Closes every map; those of programs in use live on. */
export function closeMaps(maps: MapSet): void {
  for (const { fd } of maps.values()) closeSync(fd);
  maps.clear();
}
