import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseLabel } from '../labels/grammar.ts';
import { chooseLabel, LABEL_INPUTS } from './choose-label.ts';

const choose = (given: Readonly<Record<string, string>>) =>
  chooseLabel((name) => given[name] ?? '');

it.each([
  [{}, 'architect'],
  [{ class: '8cpu-32gb', key: '1-1-pick-0' }, 'architect/key=1-1-pick-0/class=8cpu-32gb'],
  [{ cpu: '4', ram: '16', spot: 'FALSE' }, 'architect/cpu=4/ram=16/spot=false'],
])('%j is the label %s', (given, label) => {
  expect(choose(given)).toEqual({ kind: 'chosen', label });
});

it.each([
  [{ cpu: '0' }, 'The key "cpu" wants a whole number from 1 to 256.'],
  [{ arch: 'riscv' }, 'The key "arch" wants x64 or arm64.'],
  [{ class: 'a/cpu=64' }, 'The input "class" holds a slash, an equals sign or a space.'],
  [{ gpu: '1' }, 'The input "gpu" is not offered: there are no such hosts.'],
])('%j is refused: %s', (given, why) => {
  expect(choose(given)).toEqual({ kind: 'refused', why });
});

it('property: what it chooses, the control plane reads as just these inputs', () => {
  const given = fc.dictionary(fc.constantFrom(...LABEL_INPUTS), fc.string({ maxLength: 140 }));
  fc.assert(
    fc.property(given, (inputs) => {
      const chosen = choose(inputs);
      if (chosen.kind === 'refused') return;
      const read = parseLabel(chosen.label);
      const names = Object.keys(inputs).filter((name) => inputs[name] !== '');
      expect(read.kind === 'parsed' && Object.keys(read.request).sort()).toEqual(names.sort());
    }),
    { numRuns: 1_000 },
  );
});

it('has an action.yml that asks for the same inputs, and starts what is there', () => {
  const root = join(import.meta.dirname, '../..');
  const { inputs, runs } = z
    .object({
      inputs: z.record(z.string(), z.object({ description: z.string() })),
      runs: z.object({ using: z.literal('node24'), main: z.string(), post: z.string() }),
    })
    .parse(parse(readFileSync(join(root, 'action.yml'), 'utf8')));
  expect(Object.keys(inputs).sort()).toEqual([...LABEL_INPUTS, 'gpu', 'hold'].sort());
  const sourceOf = (path: string) => readFileSync(join(root, path), 'utf8');
  expect(sourceOf(runs.main)).toContain('runStep');
  expect(sourceOf(runs.post)).toContain('endStep');
});
