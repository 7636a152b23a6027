/** The queue of a tap that another process holds and does not read, in a namespace of the test's own. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { openTapQueue, readTapDrops } from '../../../host-agent/net/tap-queue.ts';

const QUEUE = 4;
const SENT = 6;
const ADDRESS = '10.201.0.9';
/** Opens the tap as QEMU does, and never reads it. */
const HOLDER = `
open(my $tap, '+<', '/dev/net/tun') or die;
my $name = pack('Z16 S x22', 'tap0', 0x1002);
ioctl($tap, 0x400454ca, $name) or die;
$| = 1; print "held\\n"; <STDIN>;`;
const SENDER = `
use Socket;
socket(my $out, PF_INET, SOCK_DGRAM, 0) or die;
send($out, $_, 0, sockaddr_in(9, inet_aton('${ADDRESS}'))) for 1..${SENT};`;

test('what waits in a tap is seen, what found no room is counted, and it can be taken', async () => {
  const netns = `ar-tq${randomBytes(3).toString('hex')}`;
  const inside = (program: string) =>
    execa('nsenter', [`--net=/run/netns/${netns}`, 'perl', '-e', program], { reject: false });
  await execa('ip', ['netns', 'add', netns]);
  let holder: ReturnType<typeof inside> | undefined;
  try {
    const lines = [
      'tuntap add dev tap0 mode tap',
      `link set tap0 txqueuelen ${QUEUE} addrgenmode none up`,
      'addr add 169.254.1.1/32 dev tap0',
      `route add ${ADDRESS}/32 dev tap0`,
      `neigh add ${ADDRESS} lladdr 02:00:00:00:00:09 dev tap0 nud permanent`,
    ];
    await execa('ip', ['-n', netns, '-batch', '-'], { input: lines.join('\n') });
    holder = inside(HOLDER);
    await Promise.race([once(holder.stdout, 'data'), holder]);
    const tap = openTapQueue(holder.pid ?? 0);
    expect(tap?.hasFrames()).toBe(false);
    await inside(SENDER);
    expect(tap?.hasFrames()).toBe(true);
    expect(readTapDrops(holder.pid ?? 0)).toBe(SENT - QUEUE);
    expect(tap?.takeFrames()).toBe(QUEUE);
    expect(tap?.hasFrames()).toBe(false);
    tap?.close();
  } finally {
    holder?.kill();
    await holder;
    await execa('ip', ['netns', 'del', netns]);
  }
});
