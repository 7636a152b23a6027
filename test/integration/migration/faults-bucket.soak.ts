/** A bucket that fails in the middle of a move: what it does not give comes from the source. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { VmId } from '../../../host-agent/protocol/ids.ts';
import type { Fault } from '../../fakes/object-store/fault-proxy.ts';
import { FILL, HASH, inGuest } from './in-guest.ts';
import { MovingAgents } from './moving-agents.ts';
import { startS3 } from './s3-store.ts';

const MIB = 1024 * 1024;
/** Of each object so many answers are good: its index, and something of its content. */
const GOOD_ANSWERS = 1;
const DOWN: Fault = { kind: 'status', status: 503 };

let s3: Awaited<ReturnType<typeof startS3>>;
let agents: MovingAgents;
let vmId: VmId;
let hashes: string;
let host = 'one';

beforeAll(async () => {
  const store = async (address: string) => {
    s3 = await startS3(address);
    return s3.spec;
  };
  agents = await MovingAgents.start(['one', 'two'], { store });
  vmId = await agents.startVm(host);
  hashes = await inGuest(agents, { vmId, host, script: FILL });
});
afterEach(() => {
  s3.proxy.decide = () => ({ kind: 'pass' });
});
afterAll(async () => {
  await agents?.[Symbol.asyncDispose]();
  await s3?.[Symbol.asyncDispose]();
});

test.each<[string, Fault]>([
  ['answers 503', DOWN],
  ['answers nothing', { kind: 'hang' }],
  ['cuts its answers short', { kind: 'truncate' }],
  ['answers with other bytes', { kind: 'corrupt' }],
  ['is too slow', { kind: 'drip' }],
])('a bucket that %s', async (_, fault) => {
  await agents.vm(host, vmId, ({ tracking }) => (tracking?.bytesInStore ?? 0) >= 16 * MIB);
  const to = host === 'one' ? 'two' : 'one';
  const asked = s3.proxy.seen.length;
  let faults = 0;
  s3.proxy.decide = ({ method, path }) => {
    const answered = s3.proxy.seen.slice(asked).filter((one) => one.path === path).length;
    if (method === 'GET' && answered <= GOOD_ANSWERS) return { kind: 'pass' };
    faults += 1;
    return fault;
  };
  const { target } = await agents.move(vmId, { from: host, to });
  host = to;
  expect(target.phase).toBe('done');
  expect(faults).toBeGreaterThan(0);
});

test('after all of them the guest has what it had', async () => {
  expect(await inGuest(agents, { vmId, host, script: HASH })).toBe(hashes);
  await agents.stopVm(host, vmId);
});
