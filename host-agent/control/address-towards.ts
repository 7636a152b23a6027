/** This host's address on the network that it shares with the control plane and with its peers. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const CONNECT_LIMIT_MS = 5_000;

/**
 * The address that the kernel would send from. No packet is sent: a connected UDP socket only looks
 * the route up. Rejects with the system's error when there is none.
 */
export async function addressTowards(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = createSocket('udp4');
  try {
    const connected = once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_LIMIT_MS) });
    socket.connect(Number(port || '443'), hostname);
    await connected;
    return socket.address().address;
  } finally {
    socket.close();
  }
}
