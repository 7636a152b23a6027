import { expect, test } from 'vitest';
import { isAtLeast, parseQemuAnswers } from './parse-qemu.ts';

/** Shortened from QEMU 10.0.2 under TCG. */
const ANSWERS = `{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "Debian 1:10.0.2+ds-2"}, "capabilities": ["oob"]}}
{"return": {}}
{"return": [{"name": "max", "typename": "max-x86_64-cpu", "unavailable-features": [], "static": false, "migration-safe": false, "deprecated": false}, {"name": "host", "typename": "host-x86_64-cpu", "unavailable-features": ["kvm"], "static": false, "migration-safe": false}, {"name": "qemu64", "typename": "qemu64-x86_64-cpu", "unavailable-features": [], "alias-of": "qemu64-v1", "static": false, "migration-safe": true}, {"name": "Skylake-Client", "typename": "Skylake-Client-x86_64-cpu", "unavailable-features": ["pcid", "hle"], "static": false, "migration-safe": true}]}
{"timestamp": {"seconds": 1795463000, "microseconds": 1}, "event": "SHUTDOWN", "data": {"guest": false}}
{"return": {}}
`;

test('offers the complete models whose guests can move', () => {
  expect(parseQemuAnswers(ANSWERS)).toEqual({ version: '10.0.2', cpuModels: ['qemu64'] });
});

test.each([
  ['nothing', ''],
  ['an error message', 'qemu-system-x86_64: -accel kvm: Could not access KVM kernel module'],
  ['a greeting alone', ANSWERS.split('\n', 1).join('')],
])('%s is no answer', (_name, text) => {
  expect(parseQemuAnswers(text)).toBeUndefined();
});

test.each([
  ['8.2.0', true],
  ['10.0.2', true],
  ['8.1.9', false],
  ['7.2.0', false],
])('%s at least 8.2.0: %s', (version, expected) => {
  expect(isAtLeast(version, '8.2.0')).toBe(expected);
});
