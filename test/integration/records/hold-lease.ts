/** `node hold-lease.ts SOCKET`: takes the lease of fleet `f`, prints its fence, and stays. */
import { Redis } from 'ioredis';
import { Lease } from '../../../app/records/lease.ts';

const lease = new Lease({
  redis: new Redis(process.argv[2] ?? ''),
  fleet: 'f',
  durationMs: 600_000,
});
if (!(await lease.keep())) throw new Error('another has it');
process.stdout.write(`${lease.fence}\n`);
