/** The C compiler of the programs says where it puts each field; both sides must agree. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import * as abi from '../../../../host-agent/net/bpf/abi.ts';
import { DROP_REASONS } from '../../../../host-agent/net/bpf/drop-reasons.ts';
import type { Layout } from '../../../../host-agent/net/bpf/layout.ts';
import { readSections } from '../../../../host-agent/net/bpf/object-file.ts';
import { numberOf } from '../../../../host-agent/net/vni.ts';

const BPF_FOLDER = join(import.meta.dirname, '../../../../bpf');
/** Plain integers: there is no struct to compare. */
const SCALARS = ['vm_number', 'index', 'drop_counter', 'public_address', 'vni'];

const layouts: readonly Pick<Layout, 'struct' | 'bytes' | 'offsets'>[] = Object.values(abi).flatMap(
  (value) => ('offsets' in value ? [value] : []),
);
const structs = layouts.filter(({ struct }) => !SCALARS.includes(struct));

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Numbers that C computes, by the make target that compiles a file of them. */
async function askCompiler(expressions: readonly string[]): Promise<readonly number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'architect-abi-'));
  try {
    const source = join(folder, 'numbers.c');
    writeFileSync(
      source,
      `#include "program.h"\n#include "abi.h"\nSEC("numbers") const __u32 asked[] = {\n${expressions.join(',\n')}\n};\n`,
    );
    await execa('make', ['-s', '-C', BPF_FOLDER, `BUILD=${folder}`, `${folder}/numbers.o`]);
    const sections = readSections(readFileSync(join(folder, 'numbers.o')));
    const bytes = sections.find(({ name }) => name === 'numbers')?.bytes ?? Buffer.alloc(0);
    return expressions.map((_, n) => bytes.readUInt32LE(n * 4));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('every struct has the same size and offsets in C', async () => {
  const wanted = structs.flatMap(({ struct, bytes, offsets }) => [
    { what: `sizeof(struct ${struct})`, value: bytes },
    ...Object.entries(offsets).map(([field, value]) => ({
      what: `offsetof(struct ${struct}, ${snake(field)})`,
      value,
    })),
  ]);
  const compiled = await askCompiler(wanted.map(({ what }) => what));
  expect(wanted.map(({ what }, n) => `${what} = ${compiled[n]}`)).toEqual(
    wanted.map(({ what, value }) => `${what} = ${value}`),
  );
});

test('drop reasons, states and the VNI mean the same', async () => {
  const EPOCHS = [...Array(256).keys()].filter((vni) => numberOf(vni) === 1).length;
  const reasons = DROP_REASONS.map(
    (reason) => `DROP_${snake(reason).replaceAll('-', '_').toUpperCase()}`,
  );
  const states = abi.NAT_STATES.map((state) => `NAT_${state.toUpperCase()}`);
  const classes = abi.NAT_CLASSES.map((name) => `NAT_${name.toUpperCase()}`);
  const expressions = [
    ...reasons,
    'DROP_REASONS',
    ...states,
    'NAT_STATES',
    ...classes,
    'NAT_CLASSES',
  ];
  expect(await askCompiler([...expressions, '1 << VNI_EPOCH_BITS'])).toEqual([
    ...Array.from({ length: reasons.length + 1 }, (_, n) => n),
    ...[0, 1, 2, 3, 4],
    ...[0, 1, 2, 3],
    EPOCHS,
  ]);
});
