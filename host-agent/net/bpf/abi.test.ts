/** Which structs are mirrored; the compiler's word on each is in test/integration/net/bpf/abi.test.ts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import * as abi from './abi.ts';

/** Plain integers: there is no struct to compare. */
const SCALARS = ['vm_number', 'index', 'drop_counter', 'public_address', 'vni'];
const header = readFileSync(join(import.meta.dirname, '../../../bpf/abi.h'), 'utf8');

test('every struct of abi.h that user space reads or writes is mirrored', () => {
  const declared = [...header.matchAll(/^struct (\w+) \{/gm)].map((match) => match[1]);
  const kernelOnly = ['fragment_key', 'fragment', 'fragment6_key'];
  const mirrored = Object.values(abi).flatMap((value) => ('struct' in value ? value.struct : []));
  expect(mirrored.filter((name) => !SCALARS.includes(name)).sort()).toEqual(
    declared.filter((name) => name !== undefined && !kernelOnly.includes(name)).sort(),
  );
});

test('what is encoded is decoded again', () => {
  const vm: abi.HostVmEntry = {
    rateBytes: 12_500_000_000,
    burstBytes: 65_536,
    vni: 0x1234_5,
    gateway: '192.0.2.1',
    forwardHost: undefined,
    forwardVni: 0,
    stragglerSource: '100.64.0.9',
    guestAddress: '10.201.255.254',
    policy: 3,
    linkIfindex: 4,
    upIfindex: 5,
    tapIfindex: 6,
    guestMac: '02:61:72:00:00:02',
  };
  expect(abi.hostVm.decode(abi.hostVm.encode(vm))).toEqual(vm);
});
