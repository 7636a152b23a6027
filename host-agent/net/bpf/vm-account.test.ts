import { expect, it } from 'vitest';
import { MAX_PEER_NETWORKS, VmTraffic } from '../../protocol/gateway-messages.ts';
import { accountOf } from './vm-account.ts';

const counted = (bytes: number) => ({ outPackets: 1, outBytes: bytes, inPackets: 2, inBytes: 1 });

it('has the largest first, and no more than a frame takes', () => {
  const networks = Array.from({ length: MAX_PEER_NETWORKS + 9 }, (_, n) => ({
    ...{ prefix: `198.51.${n}.0/24`, ...counted(n) },
  }));
  const drops = { guard: 3, fenced: 7 };
  const account = VmTraffic.parse(accountOf({ ...counted(100), drops }, networks));
  expect(account).toMatchObject({
    out: { packets: 1, bytes: 100 },
    in: { packets: 2, bytes: 1 },
    drops: [
      { reason: 'fenced', packets: 7 },
      { reason: 'guard', packets: 3 },
    ],
  });
  expect(account.peers).toHaveLength(MAX_PEER_NETWORKS);
  expect(account.peers[0]?.network).toBe(`198.51.${MAX_PEER_NETWORKS + 8}.0/24`);
});
