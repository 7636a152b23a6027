import { expect, test } from 'vitest';
import { CLASS, hostFacts } from '../../test/fixtures/protocol.ts';
import { fleetHost } from '../../test/fixtures/records.ts';
import { whyWaiting } from './why-waiting.ts';

const sized = (diskGib: number, vcpus = 8) =>
  fleetHost({ facts: hostFacts({ capacity: { vcpus, memoryMib: 8192, diskGib } }) });

test.each([
  ['a host that could take it', [sized(20)], null],
  ['one of several', [sized(10), sized(20)], null],
  ['no host known', [], null],
  ['no host that counts', [fleetHost({ state: 'away' })], /none is connected/],
  ['too small disks', [sized(10), sized(12)], /20 GiB of disk, and no host has more than 12 GiB/],
  ['each lacks something else', [sized(10, 8), sized(40, 1)], /2 vCPUs, 4 GiB .* all of that\.$/],
])('%s', (_name, hosts, why) => {
  const said = whyWaiting(CLASS, hosts);
  if (why === null) expect(said).toBeNull();
  else expect(said).toMatch(why);
});
