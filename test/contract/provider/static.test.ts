import { expect, test } from 'vitest';
import type { ProviderHost } from '../../../app/providers/provider.ts';
import { createStaticProvider } from '../../../app/providers/static/static-provider.ts';

const signal = new AbortController().signal;
const host: ProviderHost = {
  machineId: 'box-1',
  offerId: 'static',
  state: 'running',
  launchedAtMs: 0,
};

function enrolled(...ids: string[]) {
  const known = new Set(ids);
  return createStaticProvider({
    enrolledHosts: async () => [...known].map((machineId) => ({ ...host, machineId })),
    forgetHost: async (machineId) => void known.delete(machineId),
  });
}

test('sells nothing and says how a machine is added', async () => {
  const provider = enrolled();
  expect(await provider.offers(signal)).toEqual([]);
  const launch = { offerId: 'x', clientToken: 'y', enrolmentToken: 'architect_z' };
  await expect(provider.launch(launch, signal)).rejects.toMatchObject({
    code: 'STATIC_LAUNCH',
    retry: 'never',
    message: expect.stringContaining('architect host join'),
  });
});

test('lists what is enrolled; terminating forgets it, twice without error', async () => {
  const provider = enrolled('box-1', 'box-2');
  await provider.terminate('box-1', signal);
  await provider.terminate('box-1', signal);
  expect((await provider.list(signal)).map(({ machineId }) => machineId)).toEqual(['box-2']);
});

test('a cancelled call does nothing', async () => {
  const provider = enrolled('box-1');
  const cancelled = AbortSignal.abort(new Error('cancelled'));
  await expect(provider.terminate('box-1', cancelled)).rejects.toThrow('cancelled');
  await expect(provider.list(cancelled)).rejects.toThrow('cancelled');
  expect(await provider.list(signal)).toHaveLength(1);
});
