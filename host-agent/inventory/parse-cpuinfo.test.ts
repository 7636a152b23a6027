import { expect, test } from 'vitest';
import { parseCpuinfo } from './parse-cpuinfo.ts';

const XEON = `processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 167
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu vme sse4_2 hypervisor
bugs\t\t: spectre_v1
power management:

processor\t: 1
vendor_id\t: Another
flags\t\t: fpu
`;

const ARM = `processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd0c

`;

test('takes the first processor of an x86 machine', () => {
  expect(parseCpuinfo(XEON)).toEqual({
    vendor: 'GenuineIntel',
    modelName: 'Intel(R) Xeon(R) Processor',
    features: ['fpu', 'vme', 'sse4_2', 'hypervisor'],
  });
});

test('names an arm64 machine by implementer and part', () => {
  expect(parseCpuinfo(ARM)).toEqual({
    vendor: '0x41',
    modelName: '0xd0c',
    features: ['fp', 'asimd', 'evtstrm', 'aes'],
  });
});

test('says unknown for what is not there', () => {
  expect(parseCpuinfo('')).toEqual({ vendor: 'unknown', modelName: 'unknown', features: [] });
});
