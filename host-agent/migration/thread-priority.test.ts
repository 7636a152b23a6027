import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ThreadPriority, URGENT_MS } from './thread-priority.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('a thread is urgent until a while after it was said last', () => {
  const set: number[] = [];
  const thread = new ThreadPriority((nice) => set.push(nice));
  thread.hurry();
  vi.advanceTimersByTime(URGENT_MS - 1);
  thread.hurry();
  vi.advanceTimersByTime(URGENT_MS - 1);
  expect(set).toEqual([0, -15, -15]);
  vi.advanceTimersByTime(1);
  expect(set).toEqual([0, -15, -15, 0]);
});

test('without the right to it nothing happens', () => {
  const thread = new ThreadPriority(() => {
    throw new Error('EACCES');
  });
  thread.hurry();
  vi.advanceTimersByTime(URGENT_MS);
  expect(vi.getTimerCount()).toBe(0);
});
