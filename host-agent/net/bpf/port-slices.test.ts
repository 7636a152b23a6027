import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OFFERED_PORTS } from '../../protocol/gateway-messages.ts';
import { SLICE_PORTS, sliceOf } from './port-slices.ts';

test('every VM’s slice lies among the ports that are the switch’s', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 20 - 1 }), (number) => {
      const { firstPort, portCount } = sliceOf(number);
      expect(firstPort).toBeGreaterThanOrEqual(SLICE_PORTS.first);
      expect(firstPort + portCount - 1).toBeLessThanOrEqual(SLICE_PORTS.last);
    }),
  );
});

test('ports that VMs offer are nobody’s slice', () => {
  expect(OFFERED_PORTS.last).toBeLessThan(SLICE_PORTS.first);
});

test('neighbours’ slices are apart, and a VM opens a thousand connections to one peer', () => {
  const [one, next] = [sliceOf(5), sliceOf(6)];
  expect(Math.abs(one.firstPort - next.firstPort)).toBeGreaterThanOrEqual(one.portCount);
  expect(one.portCount).toBeGreaterThan(1_000);
});
