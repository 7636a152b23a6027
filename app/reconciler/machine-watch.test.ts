import { expect, test } from 'vitest';
import type { ProviderHost } from '../providers/provider.ts';
import { MachineWatch } from './machine-watch.ts';

const machines = (...ids: string[]): ProviderHost[] =>
  ids.map((machineId) => ({ machineId, offerId: 'o', state: 'running', launchedAtMs: 0 }));

function watch(known: readonly string[] = []) {
  const remembered = new Set(known);
  const evidence = {
    rememberMachine: (id: string) => void remembered.add(id),
    wasMachine: (id: string) => remembered.has(id),
  };
  const watching = new MachineWatch(evidence);
  return {
    look: (...ids: string[]) => watching.note(machines(...ids), 1),
    isGone: (hostname: string) => watching.isGone({ hostname }),
  };
}

test('a machine is gone once two looks in a row lack it', () => {
  const { look, isGone } = watch();
  look('a', 'b');
  look('b');
  expect(isGone('a')).toBe(false);
  look('b');
  expect(isGone('a')).toBe(true);
  expect(isGone('b')).toBe(false);
});

test('a machine that another process saw is known, one that nobody listed is not', () => {
  const { look, isGone } = watch(['a']);
  expect(isGone('a')).toBe(false);
  look();
  look();
  expect(isGone('a')).toBe(true);
  expect(isGone('somebody-elses')).toBe(false);
});
