import { expect, test } from 'vitest';
import { readFatalEvent, readFatalStatus } from './qemu-watch.ts';

test.each<[string, Record<string, unknown>, RegExp | undefined]>([
  ['GUEST_PANICKED', {}, /panicked/],
  ['SHUTDOWN', { guest: true, reason: 'guest-shutdown' }, /shut itself down/],
  ['SHUTDOWN', { guest: true, reason: 'guest-reset' }, /rebooted/],
  ['SHUTDOWN', { guest: false, reason: 'host-signal' }, /host-signal/],
  ['BLOCK_IO_ERROR', { action: 'stop', nospace: true, operation: 'write' }, /disk is full/],
  ['BLOCK_IO_ERROR', { action: 'stop', nospace: false, operation: 'read' }, /could not read/],
  ['BLOCK_IO_ERROR', { action: 'report', operation: 'read' }, undefined],
  ['MIGRATION', { status: 'completed' }, undefined],
  ['STOP', {}, undefined],
])('%s %o', (name, data, why) => {
  const cause = readFatalEvent({ name, data });
  if (why === undefined) expect(cause).toBeUndefined();
  else expect(cause).toMatch(why);
});

test.each<[string, boolean]>([
  ['running', false],
  ['io-error', true],
  ['internal-error', true],
  ['paused', false],
  ['postmigrate', false],
])('an adopted QEMU that is %s', (status, fatal) => {
  expect(readFatalStatus(status) !== undefined).toBe(fatal);
});
