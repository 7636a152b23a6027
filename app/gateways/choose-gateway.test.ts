import { expect, it } from 'vitest';
import { chooseGateway } from './choose-gateway.ts';

const gateways = ['a', 'b', 'c', 'd'].map((id) => ({ id }));
const vms = [...Array(400).keys()].map((n) => `vm-${n}`);
const chosen = (of: typeof gateways) => vms.map((vmId) => chooseGateway(vmId, of)?.id);

it('chooses none of none', () => {
  expect(chooseGateway('vm-1', [])).toBeUndefined();
});

it('chooses alike in whatever order they are named, and gives each its share', () => {
  expect(chosen(gateways.toReversed())).toEqual(chosen(gateways));
  for (const { id } of gateways) {
    const share = chosen(gateways).filter((one) => one === id).length / vms.length;
    expect(share).toBeGreaterThan(0.15);
  }
});

it('moves only the VMs of a gateway that goes', () => {
  const before = chosen(gateways);
  const after = chosen(gateways.filter(({ id }) => id !== 'b'));
  for (const [n, id] of before.entries()) if (id !== 'b') expect(after[n]).toBe(id);
});
