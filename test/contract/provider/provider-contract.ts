/** What every provider that launches hosts must do, whoever sells them. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import type { LaunchRequest, Provider } from '../../../app/providers/provider.ts';

const LIMIT_MS = 60_000;

/** Registers the suite; `provider` answers one that the caller's hooks made and will remove. */
export function describeProvider(provider: () => Provider): void {
  const signal = () => AbortSignal.timeout(LIMIT_MS);
  const request = async (): Promise<LaunchRequest> => {
    const [offer] = await provider().offers(signal());
    return {
      offerId: offer?.id ?? 'none',
      clientToken: randomUUID(),
      enrolmentToken: `architect_${'x'.repeat(40)}`,
    };
  };
  const listed = async () => (await provider().list(signal())).map(({ machineId }) => machineId);

  test('offers something to launch', async () => {
    const [offer] = await provider().offers(signal());
    expect(offer?.capacity.vcpus).toBeGreaterThan(0);
    expect(offer?.pricePerHourUsd).toBeGreaterThanOrEqual(0);
  });

  test('the same client token gives the same host, later and at the same time', async () => {
    const wanted = await request();
    const [first, second] = await Promise.all([
      provider().launch(wanted, signal()),
      provider().launch(wanted, signal()),
    ]);
    const third = await provider().launch(wanted, signal());
    expect(second.machineId).toBe(first.machineId);
    expect(third.machineId).toBe(first.machineId);
    expect((await listed()).filter((id) => id === first.machineId)).toHaveLength(1);
  });

  test('different client tokens give different hosts, at the same time', async () => {
    const wanted = [await request(), await request(), await request()];
    const hosts = await Promise.all(wanted.map((one) => provider().launch(one, signal())));
    expect(new Set(hosts.map(({ machineId }) => machineId)).size).toBe(3);
    expect(await listed()).toEqual(expect.arrayContaining(hosts.map(({ machineId }) => machineId)));
  });

  test('a terminated host is not listed, and terminating it again is no error', async () => {
    const { machineId } = await provider().launch(await request(), signal());
    await provider().terminate(machineId, signal());
    expect(await listed()).not.toContain(machineId);
    await provider().terminate(machineId, signal());
    await provider().terminate('h-00000000', signal());
  });

  test('a launch that is cancelled leaves no host', async () => {
    const before = await listed();
    const cancelled = AbortSignal.abort(new Error('cancelled by the test'));
    await expect(provider().launch(await request(), cancelled)).rejects.toThrow('cancelled');
    const soon = new AbortController();
    const launch = provider().launch(await request(), soon.signal);
    setImmediate(() => soon.abort(new Error('cancelled by the test')));
    await expect(launch).rejects.toThrow('cancelled');
    expect(await listed()).toEqual(before);
  });
}
