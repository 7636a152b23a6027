import { pino } from 'pino';
import { expect, it } from 'vitest';
import { type GuestAnswer, MAX_ASKS_PER_HOST } from '../../host-agent/protocol/guest-api.ts';
import { HostId, VmId } from '../../host-agent/protocol/ids.ts';
import { GuestLines } from './guest-lines.ts';

const logger = pino({ level: 'silent' });
const question = (host: string) => ({
  ...{ hostId: HostId.parse(host), cpuModel: null, vmId: VmId.parse('vm-1') },
  ask: { kind: 'look' } as const,
});
const NO: GuestAnswer = { kind: 'refused', why: 'No.', retry: 'never' };

it('answers so many questions of one host at a time, and others beside', async () => {
  const desk = Promise.withResolvers<GuestAnswer>();
  const lines = new GuestLines({ guests: { answer: () => desk.promise }, logger });
  const waiting = Array.from({ length: MAX_ASKS_PER_HOST }, () => lines.answer(question('host-1')));
  expect(await lines.answer(question('host-1'))).toMatchObject({ retry: 'later' });
  const other = lines.answer(question('host-2'));
  desk.resolve(NO);
  expect(await Promise.all([...waiting, other])).toEqual(
    Array.from({ length: MAX_ASKS_PER_HOST + 1 }, () => NO),
  );
  expect(await lines.answer(question('host-1'))).toEqual(NO);
});

it('has what it cannot answer asked again', async () => {
  const answer = () => Promise.reject(new Error('Redis is away.'));
  const broken = new GuestLines({ guests: { answer }, logger });
  for (const lines of [broken, new GuestLines({ logger })])
    expect(await lines.answer(question('host-1'))).toMatchObject({ retry: 'later' });
  expect(await broken.answer(question('host-1'))).toMatchObject({
    why: expect.stringContaining('cannot read its records'),
  });
});
