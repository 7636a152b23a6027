/**
 * Reads what `make -C bpf` compiles (ELF 64, little-endian; elf(5)) without libbpf or BTF. Pure.
 *
 *   section `maps`     struct map_definition, one per symbol
 *   section `tc`       one program, named by its function symbol
 *   section `license`
 *   relocations of `tc`: R_BPF_64_64 only, to a symbol of `maps` (a map's descriptor is to be set)
 *   or to an undefined one (a constant of the loader). Functions are all inlined.
 */
import { BpfObjectError } from './bpf-errors.ts';
import type { MapDefinition } from './kernel-map.ts';

const R_BPF_64_64 = 1;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 16;
const MAP_DEFINITION_BYTES = 20;
const FUNCTION_SYMBOL = 2;

export interface Relocation {
  /** Where the 16-byte instruction is that gets the value, bytes. */
  readonly offset: number;
  readonly symbol: string;
}

export interface ObjectFile {
  readonly program: string;
  readonly license: string;
  readonly instructions: Buffer;
  readonly maps: ReadonlyMap<string, MapDefinition>;
  readonly relocations: readonly Relocation[];
}

export interface Section {
  readonly name: string;
  readonly bytes: Buffer;
}

interface Symbol {
  readonly name: string;
  readonly section: number;
  readonly value: number;
  readonly isFunction: boolean;
}

/** BpfObjectError when `file` is anything else than described above. */
export function parseObjectFile(file: Buffer): ObjectFile {
  if (file.length < 64 || file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw new BpfObjectError('This is not a 64-bit little-endian ELF file.');
  }
  const sections = readSections(file);
  const symbols = readSymbols(sections);
  const code = indexOf(sections, 'tc');
  const program = symbols.find((symbol) => symbol.isFunction && symbol.section === code);
  if (program === undefined) throw new BpfObjectError('The object has no program in `tc`.');
  return {
    program: program.name,
    license: sections[indexOf(sections, 'license')]?.bytes.toString('latin1') ?? '',
    instructions: Buffer.from(sections[code]?.bytes ?? []),
    maps: readMaps(sections, symbols),
    relocations: readRelocations(sections, symbols),
  };
}

/** All sections of an ELF file, in its order. */
export function readSections(file: Buffer): readonly Section[] {
  const start = Number(file.readBigUInt64LE(40));
  const count = file.readUInt16LE(60);
  const headers = Array.from({ length: count }, (_, n) =>
    file.subarray(start + n * SECTION_HEADER_BYTES, start + (n + 1) * SECTION_HEADER_BYTES),
  );
  const bytesOf = (header: Buffer) => {
    const at = Number(header.readBigUInt64LE(24));
    return file.subarray(at, at + Number(header.readBigUInt64LE(32)));
  };
  const namesHeader = headers[file.readUInt16LE(62)];
  if (namesHeader === undefined) throw new BpfObjectError('The object’s sections have no names.');
  const names = bytesOf(namesHeader);
  return headers.map((header) => ({
    name: textAt(names, header.readUInt32LE(0)),
    bytes: bytesOf(header),
  }));
}

function readSymbols(sections: readonly Section[]): readonly Symbol[] {
  const table = sections[indexOf(sections, '.symtab')]?.bytes ?? Buffer.alloc(0);
  const names = sections[indexOf(sections, '.strtab')]?.bytes ?? Buffer.alloc(0);
  return pieces(table, SYMBOL_BYTES).map((entry) => ({
    name: textAt(names, entry.readUInt32LE(0)),
    isFunction: (entry.readUInt8(4) & 0xf) === FUNCTION_SYMBOL,
    section: entry.readUInt16LE(6),
    value: Number(entry.readBigUInt64LE(8)),
  }));
}

function readMaps(
  sections: readonly Section[],
  symbols: readonly Symbol[],
): ReadonlyMap<string, MapDefinition> {
  const index = indexOf(sections, 'maps');
  const bytes = sections[index]?.bytes ?? Buffer.alloc(0);
  const named = symbols.filter(({ section, name }) => section === index && name !== '');
  if (named.length * MAP_DEFINITION_BYTES !== bytes.length) {
    throw new BpfObjectError('The object’s maps are not as bpf/program.h defines them.');
  }
  return new Map(
    named.map(({ name, value }) => [
      name,
      {
        type: bytes.readUInt32LE(value),
        keyBytes: bytes.readUInt32LE(value + 4),
        valueBytes: bytes.readUInt32LE(value + 8),
        maxEntries: bytes.readUInt32LE(value + 12),
        flags: bytes.readUInt32LE(value + 16),
      },
    ]),
  );
}

function readRelocations(
  sections: readonly Section[],
  symbols: readonly Symbol[],
): readonly Relocation[] {
  const maps = indexOf(sections, 'maps');
  const table = sections.find(({ name }) => name === '.reltc')?.bytes ?? Buffer.alloc(0);
  return pieces(table, RELOCATION_BYTES).map((entry) => {
    const symbol = symbols[entry.readUInt32LE(12)];
    const known = symbol?.section === maps || symbol?.section === 0;
    if (entry.readUInt32LE(8) !== R_BPF_64_64 || symbol === undefined || !known) {
      throw new BpfObjectError(`The program refers to ${symbol?.name}, which cannot be loaded.`);
    }
    return { offset: Number(entry.readBigUInt64LE(0)), symbol: symbol.name };
  });
}

function indexOf(sections: readonly Section[], name: string): number {
  const index = sections.findIndex((section) => section.name === name);
  if (index < 0) throw new BpfObjectError(`The object has no section ${name}.`);
  return index;
}

function pieces(bytes: Buffer, pieceBytes: number): Buffer[] {
  return Array.from({ length: Math.floor(bytes.length / pieceBytes) }, (_, n) =>
    bytes.subarray(n * pieceBytes, (n + 1) * pieceBytes),
  );
}

function textAt(bytes: Buffer, start: number): string {
  return bytes.toString('latin1', start, bytes.indexOf(0, start));
}
