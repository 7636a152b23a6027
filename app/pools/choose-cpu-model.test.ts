import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  type CpuReport,
  chooseCpuModel,
  describeCpuChoice,
  judgeHost,
  splitByVendor,
} from './choose-cpu-model.ts';
import { judgeFlags } from './cpu-flags.ts';
import { QEMU_CPU_MODELS, type QemuCpuModel } from './qemu-cpu-models.ts';

const FIXTURES = join(import.meta.dirname, '../../test/fixtures/cpu-reports');
const Recording = z.object({
  host: z.string(),
  vendor: z.enum(['GenuineIntel', 'AuthenticAMD']),
  modelName: z.string(),
  recorded: z.string(),
  source: z.string().min(1),
  note: z.string().optional(),
  flags: z.string(),
});

/**
 * Recordings hold flags alone. What a QEMU would offer there is worked out from them, and a model
 * with features that no flag tells of counts as not offered.
 */
function offeredByFlags(vendor: string, flags: readonly string[]): readonly string[] {
  return QEMU_CPU_MODELS.filter((model) => {
    const { lacks, untold } = judgeFlags(model, flags);
    const fits = model.vendor === null || model.vendor === vendor;
    return fits && lacks.length === 0 && untold.length === 0;
  }).map(({ model }) => model);
}

const recorded = new Map<string, CpuReport>(
  readdirSync(FIXTURES).map((file) => {
    const text = readFileSync(join(FIXTURES, file), 'utf8');
    const { host, vendor, flags } = Recording.parse(JSON.parse(text));
    const features = flags.split(' ');
    const cpuModels = offeredByFlags(vendor, features);
    return [file.replace('.json', ''), { host, vendor, features, cpuModels }];
  }),
);

function fleet(...names: readonly string[]): readonly CpuReport[] {
  return names.map((name) => {
    const report = recorded.get(name);
    if (report === undefined) throw new Error(`no recording of ${name}`);
    return report;
  });
}

function report(host: string, cpuModels: readonly string[], over: Partial<CpuReport> = {}) {
  return { host, vendor: 'GenuineIntel', features: [], cpuModels, ...over };
}

describe('recorded fleets', () => {
  it.each([
    ['one generation', ['ec2-m7i'], 'Skylake-Server-v5'],
    ['Skylake of 2018', ['ec2-m5-large'], 'Broadwell-v2'],
    [
      'Skylake, Cascade Lake and Sapphire Rapids',
      ['ec2-m5-large', 'xeon-8259cl', 'ec2-m7i'],
      'Broadwell-v2',
    ],
    ['two clouds', ['ec2-m7i', 'azure-d2s-v3', 'azure-xeon-8370c'], 'Broadwell-v2'],
    ['with a Broadwell that hides SMAP', ['ec2-r4-2xlarge', 'ec2-m7i'], 'Haswell-v2'],
    ['AMD, whose instances hide OSVW', ['ec2-m7a-8xlarge', 'ec2-epyc-7r13'], 'Opteron_G3-v1'],
  ])('%s: %j get %s', (_name, names, model) => {
    const choice = chooseCpuModel({ reports: fleet(...names) });
    expect(choice).toMatchObject({ kind: 'chosen', model });
    expect(choice.verdicts.map(({ admitted }) => admitted)).toEqual(names.map(() => true));
  });

  it('says what an older host lacks of the model that the others get', () => {
    const reports = fleet('ec2-m7i', 'ec2-m5-large', 'ec2-r4-2xlarge');
    const choice = chooseCpuModel({ reports, leastAdmitted: 1 });
    expect(choice).toMatchObject({
      kind: 'chosen',
      model: 'Skylake-Server-v5',
      verdicts: [
        { host: 'EC2 m7i', admitted: true, lacks: [] },
        { host: 'EC2 m5.large', admitted: false, lacks: ['ibrs'] },
        { host: 'EC2 r4.2xlarge', admitted: false },
      ],
    });
    const { lacks } = choice.verdicts[2] ?? { lacks: [] };
    expect(lacks).toEqual(expect.arrayContaining(['avx512f', 'ibrs', 'pku', 'smap', 'xsavec']));
  });

  it('makes no pool of two vendors, and one of each after splitting', () => {
    const all = [...recorded.values()];
    expect(chooseCpuModel({ reports: all })).toEqual({
      kind: 'refused',
      why: 'AuthenticAMD and GenuineIntel hosts cannot share a pool: make one for each vendor.',
      verdicts: [],
    });
    const kinds = [...splitByVendor(all)].map(([vendor, reports]) => {
      const choice = chooseCpuModel({ reports });
      return [vendor, choice.kind === 'chosen' ? choice.model : choice.why];
    });
    expect(Object.fromEntries(kinds)).toEqual({
      GenuineIntel: 'Haswell-v2',
      AuthenticAMD: 'Opteron_G3-v1',
    });
  });

  it('is shown in words', () => {
    const reports = fleet('ec2-m7i', 'ec2-m5-large');
    expect(describeCpuChoice(chooseCpuModel({ reports, leastAdmitted: 1 }))).toEqual([
      expect.stringMatching(/^CPU model Skylake-Server-v5: 1 of 2 GenuineIntel hosts offer it/),
      '  EC2 m7i: admitted',
      '  EC2 m5.large: not admitted. It lacks ibrs, which Skylake-Server-v5 needs.',
    ]);
  });
});

describe('chooseCpuModel', () => {
  it.each([
    ['no host', [], /no host/],
    ['an unknown vendor', [report('a', ['qemu64-v1'], { vendor: 'unknown' })], /a does not say/],
    [
      'nothing in common',
      [report('a', ['Nehalem-v1']), report('b', ['Westmere-v1'])],
      /by 2 of the 2/,
    ],
    ['only what depends on the machine type', [report('a', ['Nehalem'])], /No CPU model/],
    ['a model of the other vendor', [report('a', ['EPYC-v1'])], /No CPU model/],
  ])('refuses %s', (_name, reports, why) => {
    expect(chooseCpuModel({ reports })).toMatchObject({
      kind: 'refused',
      why: expect.stringMatching(why),
    });
  });

  it('takes no alias, however much it is wanted', () => {
    const alias: QemuCpuModel = { model: 'Nehalem', vendor: 'GenuineIntel', features: [] };
    const reports = [report('a', ['Nehalem', 'Nehalem-v1'])];
    const candidates = [alias, ...QEMU_CPU_MODELS];
    expect(chooseCpuModel({ reports, candidates })).toMatchObject({ model: 'Nehalem-v1' });
  });

  it('believes QEMU, not the flags', () => {
    const [model = { model: '', vendor: null, features: [] }] = QEMU_CPU_MODELS;
    const flags = fleet('ec2-m7i')[0]?.features ?? [];
    expect(judgeHost(model, report('a', [model.model]))).toMatchObject({ admitted: true });
    expect(
      judgeHost({ ...model, features: ['aes'] }, report('a', [], { features: flags })),
    ).toEqual({
      host: 'a',
      admitted: false,
      lacks: [],
      why: expect.stringContaining('its flags do not show'),
    });
  });

  it('gives every admitted host the model, and never chooses worse than another candidate', () => {
    const models = QEMU_CPU_MODELS.map(({ model }) => model);
    const offers = fc.array(fc.subarray(models), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(offers, (lists) => {
        const reports = lists.map((cpuModels, n) => report(`host-${n}`, cpuModels));
        const choice = chooseCpuModel({ reports });
        const common = models.filter((model) => lists.every((list) => list.includes(model)));
        const usable = common.filter((model) => !/EPYC|Opteron/.test(model));
        expect(choice.kind === 'chosen' ? choice.model : undefined).toBe(usable[0]);
      }),
    );
  });
});
