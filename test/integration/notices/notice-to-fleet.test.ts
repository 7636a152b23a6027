/** From the metadata service, through a host-agent of its own process, to the control plane's fleet. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NO_NOTICES } from '../../../app/providers/local/metadata-answers.ts';
import type { HostNotice } from '../../../host-agent/protocol/host-notice.ts';
import { TestFleet, until } from '../host-agent/agent-fleet.ts';
import { type Ec2Service, startEc2Service } from './ec2-service.ts';

const ROUNDS = 10;

let control: TestFleet;
let service: Ec2Service;
beforeEach(async () => {
  control = await TestFleet.open();
  service = await startEc2Service();
});
afterEach(async () => {
  await control?.close();
  await service?.[Symbol.asyncDispose]();
});

async function joinHost(): Promise<void> {
  void control.startAgent('one', {
    ARCHITECT_AGENT_TOKEN_FILE: await control.writeToken('one', control.issueToken()),
    ARCHITECT_NOTICES: 'auto',
    ARCHITECT_METADATA_URL: service.url,
  });
  await control.host(({ report }) => report !== undefined);
}

function noticeNow(): HostNotice | null {
  return control.fleet.hosts()[0]?.report?.notice ?? null;
}

/** Resolves at the very report that says so, not at the next look. */
async function heard(kind: HostNotice['kind'] | null): Promise<HostNotice | null> {
  const isSo = () => (noticeNow()?.kind ?? null) === kind;
  if (isSo()) return noticeNow();
  await new Promise<void>((resolve) => {
    const stop = control.fleet.onChange(() => {
      if (!isSo()) return;
      stop();
      resolve();
    });
  });
  return noticeNow();
}

/** Each is given just after a question, so these are the longest times, not the usual ones. */
test('a notice reaches the control plane, and so does its end', async () => {
  await joinHost();
  const tookMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const time = new Date(Date.now() + 120_000).toISOString();
    const from = performance.now();
    await service.give({ instanceAction: { action: 'terminate', time }, rebalance: null });
    const notice = await heard('interruption');
    tookMs.push(Math.round(performance.now() - from));
    expect(notice).toMatchObject({ source: 'ec2', deadlineMs: Date.parse(time) });
    await service.give(NO_NOTICES);
    expect(await heard(null)).toBeNull();
  }
  tookMs.sort((a, b) => a - b);
  process.stdout.write(
    `notice → control plane, ${ROUNDS} times: ${tookMs[0]} to ${tookMs.at(-1)} ms, ` +
      `median ${tookMs[ROUNDS / 2]} ms\n`,
  );
});

test('a notice that was given while the control plane was away reaches it when it is back', async () => {
  await joinHost();
  await control.vanish();
  await service.give({ instanceAction: null, rebalance: { noticeTime: '2026-11-23T19:55:00Z' } });
  await control.listen();
  await until('the notice', () => (noticeNow()?.kind === 'rebalance' ? true : undefined));
});
