import { expect, test } from 'vitest';
import { VmGate } from './guest-gate.ts';

function gateOf(mayRun: boolean) {
  const ran: string[] = [];
  const cont = async () => void ran.push('cont');
  return { ran, gate: new VmGate({ mayRun: () => mayRun, cont }) };
}

test('who held the guest lets it run, once', async () => {
  const { gate, ran } = gateOf(true);
  await gate.release();
  expect(ran).toEqual([]);
  gate.hold();
  expect(gate.isOpen).toBe(false);
  await gate.release();
  await gate.release();
  expect(ran).toEqual(['cont']);
  expect(gate.isOpen).toBe(true);
});

test('not when the token or its lease is gone meanwhile', async () => {
  const { gate, ran } = gateOf(false);
  gate.hold();
  await gate.release();
  expect(ran).toEqual([]);
  expect(gate.isOpen).toBe(true);
});

test('once shut, nothing opens it', async () => {
  const { gate, ran } = gateOf(true);
  gate.hold();
  gate.shut();
  gate.hold();
  await gate.release();
  expect(ran).toEqual([]);
  expect(gate.isOpen).toBe(false);
});
