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
  expect(set).toEqual([-15, 0, -15, -15]);
  vi.advanceTimersByTime(1);
  expect(set).toEqual([-15, 0, -15, -15, 0]);
});

test('what can wait comes after guests, until somebody hurries', async () => {
  const set: number[] = [];
  const thread = new ThreadPriority((nice) => set.push(nice));
  set.length = 0;
  await thread.giveWay(async () => expect(set).toEqual([10]));
  expect(set).toEqual([10, 0]);
  await thread.giveWay(async () => thread.hurry());
  await thread.giveWay(async () => undefined);
  expect(set).toEqual([10, 0, 10, -15]);
});

test('a thread that may not come first again does not go last', async () => {
  const set: number[] = [];
  const thread = new ThreadPriority((nice) => {
    if (nice < 0) throw new Error('EACCES');
    set.push(nice);
  });
  await thread.giveWay(async () => undefined);
  expect(set).toEqual([0]);
});

test('without the right to it nothing happens', () => {
  const thread = new ThreadPriority(() => {
    throw new Error('EACCES');
  });
  thread.hurry();
  vi.advanceTimersByTime(URGENT_MS);
  expect(vi.getTimerCount()).toBe(0);
});
