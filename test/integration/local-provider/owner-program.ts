/**
 * A control plane in small, for the test to kill: `owner-program.ts HOME FLEET` owns an ephemeral
 * fleet, launches two hosts and says so on standard output.
 */
import { createLocalNetwork } from '../../../app/providers/local/local-network.ts';
import { ownEphemeralFleet } from '../../../app/providers/local/owner.ts';
import { openProvider } from '../../contract/provider/local-fleet.ts';

const [home = '', fleet = ''] = process.argv.slice(2);
await ownEphemeralFleet({ home, fleet });
const network = await createLocalNetwork({ fleet, uplink: false, outside: true });
const provider = openProvider(home, network);
await provider.start();
for (const clientToken of ['one', 'two']) {
  const request = { offerId: 'any', clientToken, enrolmentToken: 'architect_test' };
  await provider.launch(request, AbortSignal.timeout(30_000));
}
process.stdout.write('ready\n');
