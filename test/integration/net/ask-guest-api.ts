/** Run in a guest's namespace: asks the guest API what VM this is, and prints the answer's text. */
import {
  GUEST_API_ADDRESS,
  GUEST_API_PORT,
} from '../../../host-agent/protocol/guest-api-address.ts';

const url = `http://${GUEST_API_ADDRESS}:${GUEST_API_PORT}/v1/vm`;
const signal = AbortSignal.timeout(2_000);
const answer = await fetch(url, { signal }).then(
  (response) => response.text(),
  (error: unknown) => `no answer: ${String(error)}`,
);
process.stdout.write(answer);
