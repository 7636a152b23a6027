import { expect, test } from 'vitest';
import { QmpCommandError, QmpDisconnectedError, QmpTimeoutError } from '../vm-errors.ts';
import { createPendingCalls } from './pending-calls.ts';

const LIMIT_MS = 10_000;

test('answers find their calls by id, in any order', async () => {
  const calls = createPendingCalls();
  const ids: number[] = [];
  const first = calls.start('a', LIMIT_MS, (id) => ids.push(id));
  const second = calls.start('b', LIMIT_MS, (id) => ids.push(id));
  calls.settle({ kind: 'answer', id: ids[1] ?? 0, value: 'two' });
  calls.settle({ kind: 'answer', id: 999, value: 'nobody asked' });
  calls.settle({ kind: 'answer', id: ids[0] ?? 0, value: 'one' });
  expect(await Promise.all([first, second])).toEqual(['one', 'two']);
});

test('an error answer names the command', async () => {
  const calls = createPendingCalls();
  const call = calls.start('device_add', LIMIT_MS, (id) =>
    calls.settle({ kind: 'failure', id, errorClass: 'GenericError', text: 'no such bus' }),
  );
  await expect(call).rejects.toThrow(QmpCommandError);
  await expect(call).rejects.toThrow(/device_add: no such bus/);
});

test('the end of the connection fails every pending call and each later one', async () => {
  const calls = createPendingCalls();
  const pending = ['a', 'b'].map((name) => calls.start(name, LIMIT_MS, () => undefined));
  calls.end('it went away');
  for (const call of pending) await expect(call).rejects.toThrow(QmpDisconnectedError);
  await expect(calls.start('c', LIMIT_MS, () => undefined)).rejects.toThrow(QmpDisconnectedError);
});

test('a call without an answer ends by its time limit', async () => {
  const calls = createPendingCalls();
  await expect(calls.start('a', 1, () => undefined)).rejects.toThrow(QmpTimeoutError);
});
