import { expect, test } from 'vitest';
import { Farewell } from './farewell.ts';

test('a VM that comes back cuts the wait for stragglers short', async () => {
  const farewell = new Farewell();
  const left: string[] = [];
  const leaving = farewell.awaitStragglers().then(() => {
    left.push('left');
    farewell.complete();
  });
  await farewell.makeWay();
  expect(left).toEqual(['left']);
  await leaving;
  await farewell.gone;
});
