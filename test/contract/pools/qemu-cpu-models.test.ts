/** The table of CPU models against the QEMU that is installed. */
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { QEMU_CPU_MODELS } from '../../../app/pools/qemu-cpu-models.ts';

const LIMIT_MS = 30_000;
/** An older QEMU does not know the newest models. */
const LEAST_KNOWN = 20;
const LEFT_OUT = ['hypervisor', 'vme'];

const Expansion = z.object({
  return: z.object({ model: z.object({ props: z.record(z.string(), z.unknown()) }) }),
});
const Refusal = z.object({ error: z.object({ class: z.string() }) });

test('each model has the features that QEMU says, with what KVM switches off', async () => {
  const answers = await expand(QEMU_CPU_MODELS.map(({ model }) => model));
  const compared = QEMU_CPU_MODELS.flatMap(({ model, features }, n) => {
    const props = answers[n];
    if (props === undefined) return [];
    const said = Object.keys(props).filter((name) => props[name] === true);
    const expected = said.filter((name) => !LEFT_OUT.includes(name)).sort();
    return [{ table: { model, features }, qemu: { model, features: expected } }];
  });
  expect(compared.map(({ table }) => table)).toEqual(compared.map(({ qemu }) => qemu));
  expect(compared.length).toBeGreaterThanOrEqual(LEAST_KNOWN);
});

/** Undefined where QEMU does not know the model. */
async function expand(models: readonly string[]) {
  const props = { svm: false, monitor: false };
  const commands = [
    { execute: 'qmp_capabilities' },
    ...models.map((name) => ({
      execute: 'query-cpu-model-expansion',
      arguments: { type: 'static', model: { name, props } },
    })),
    { execute: 'quit' },
  ];
  const { stdout } = await execa(
    'qemu-system-x86_64',
    ['-machine', 'none', '-accel', 'tcg', '-nodefaults', '-display', 'none', '-S', '-qmp', 'stdio'],
    { input: commands.map((one) => `${JSON.stringify(one)}\n`).join(''), timeout: LIMIT_MS },
  );
  return stdout
    .split('\n')
    .map((line): unknown => JSON.parse(line))
    .filter((value) => Expansion.safeParse(value).success || Refusal.safeParse(value).success)
    .map((value) => Expansion.safeParse(value).data?.return.model.props);
}
