import { expect, it } from 'vitest';
import { toJavaScript } from './plain-javascript.ts';

it.each([
  ["import { a } from './a.ts';", "import { a } from './a.js';"],
  ["export { b } from '../b/c.ts';", "export { b } from '../b/c.js';"],
  ["await import('./d.ts');", "await import('./d.js');"],
  ["import 'node:fs';", "import 'node:fs';"],
  ["const path = './e.ts';", "const path = './e.ts';"],
])('%s', (source, wanted) => {
  expect(toJavaScript(source)).toBe(wanted);
});

it('keeps what runs and drops what does not', () => {
  const plain = toJavaScript("import type { T } from './t.ts';\nexport const a: T = 1 as T;");
  expect(plain).not.toContain('t.ts');
  expect(plain.replace(/\s+/g, ' ').trim()).toBe('export const a = 1 ;');
});
