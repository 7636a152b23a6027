import { expect, it } from 'vitest';
import { planImageBytes } from './filesystem.ts';

const GIB = 1024 ** 3;

it.each([0, 1, 600 * 1024 ** 2, 5 * GIB])(
  '%d bytes of content fit, with room to start in',
  (content) => {
    const image = planImageBytes(content);
    expect(image).toBeGreaterThanOrEqual(content + GIB);
    expect(image % (64 * 1024 ** 2)).toBe(0);
  },
);
