import { expect, test } from 'vitest';
import { type AcceleratorFacts, chooseAccelerator } from './accelerator.ts';

const hardware: AcceleratorFacts = {
  kvmDevice: 'usable',
  pvmModule: false,
  hardwareModule: true,
  pvmGuestKernel: false,
};

test.each<[string, Partial<AcceleratorFacts>, string]>([
  ['hardware', {}, 'kvm'],
  ['no device', { kvmDevice: 'absent' }, 'tcg'],
  ['a device that cannot be opened', { kvmDevice: 'not-usable' }, 'tcg'],
  ['PVM with a stock guest kernel', { pvmModule: true, hardwareModule: false }, 'tcg'],
  ['PVM beside a hardware module, stock guest', { pvmModule: true }, 'tcg'],
  ['PVM with its guest kernel', { pvmModule: true, pvmGuestKernel: true }, 'pvm'],
  ['a device of an unknown module', { hardwareModule: false }, 'tcg'],
])('%s gives the right accelerator', (_, change, accelerator) => {
  expect(chooseAccelerator({ ...hardware, ...change }).accelerator).toBe(accelerator);
});

test('says why not a better one', () => {
  const { why } = chooseAccelerator({ ...hardware, pvmModule: true });
  expect(why).toContain('kvm_pvm');
});
