import { pino } from 'pino';
import { expect, it } from 'vitest';
import { ShutdownStack } from './shutdown-stack.ts';

it('closes in reverse order, all parts even if one fails, and only once', async () => {
  const closed: string[] = [];
  const stack = new ShutdownStack(pino({ level: 'silent' }));
  stack.add('first', { close: () => void closed.push('first') });
  stack.add('broken', { close: () => Promise.reject(new Error('stuck')) });
  stack.add('last', { close: () => void closed.push('last') });
  await expect(stack.close()).rejects.toThrow(AggregateError);
  expect(closed).toEqual(['last', 'first']);
  await stack.close();
  expect(closed).toHaveLength(2);
});
