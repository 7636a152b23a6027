/**
 * An outside by IPv6 for a simulated fleet: a namespace on the fleet's bridge, with a server that echoes
 * (TCP, port 7000), next to the fleet's gateway.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';

export const PREFIX6 = '2001:db8:1::/64';
const SERVER6 = '2001:db8:9::9';
const GATEWAY6 = '2001:db8:9::1';
const ECHO_PORT = 7000;
const TALK = fileURLToPath(new URL('../integration/switch/talk.ts', import.meta.url));

export interface Outside6 {
  /** Script lines: opens a connection and keeps it as file descriptor 4. */
  readonly connect: string;
  /** A script line: the word comes back by that connection. */
  echo(word: string): string;
  close(): Promise<void>;
}

/** Its devices' names are the fleet's, like all that is on its bridge. */
export async function openOutside6({ name, network }: SimulatedFleet): Promise<Outside6> {
  const netns = `ar-${name}-six`;
  const link = `six${name.slice(0, 12)}`;
  await ip([
    `netns add ${netns}`,
    `link add ${link} type veth peer name eth0 netns ${netns}`,
    `link set ${link} master ${network.bridge} addrgenmode none up`,
  ]);
  await ip(
    [
      `addr add ${SERVER6}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add ${PREFIX6} via ${GATEWAY6}`,
    ],
    netns,
  );
  await ip(
    [
      `addr add ${GATEWAY6}/64 dev eth0 nodad`,
      'addr add fe80::1/64 dev eth0 nodad',
      `route add ::/0 via ${SERVER6}`,
    ],
    `ar-${name}-gateway`,
  );
  const args = [`--net=/run/netns/${netns}`, process.execPath, TALK, 'serve', SERVER6];
  const server = execa('nsenter', args, { reject: false });
  await Promise.race([once(server.stdout, 'data'), server]);
  return {
    connect: `exec 4<>/dev/tcp/${SERVER6}/${ECHO_PORT}`,
    echo: (word) => `echo ${word} >&4; read -r heard <&4; test "$heard" = ${word}`,
    close: async () => {
      server.kill('SIGKILL');
      await server;
      await ip([`netns del ${netns}`]);
    },
  };
}

async function ip(lines: readonly string[], netns?: string): Promise<void> {
  const inside = netns === undefined ? [] : ['-n', netns];
  await execa('ip', [...inside, '-batch', '-'], { input: `${lines.join('\n')}\n` });
}
