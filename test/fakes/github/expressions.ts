/** `${{ context.name }}` in workflow texts: property reads only. Pure. */
export type Contexts = Readonly<
  Record<string, Readonly<Record<string, string | number | boolean>>>
>;

const EXPRESSION = /\$\{\{\s*(.*?)\s*\}\}/g;
const PROPERTY = /^([a-z]+)\.([A-Za-z_][A-Za-z0-9_-]*)$/;

export class ExpressionError extends Error {}

/** A property that a known context lacks is empty, as with GitHub. Throws ExpressionError. */
export function substitute(text: string, contexts: Contexts): string {
  return text.replace(EXPRESSION, (_, expression: string) => read(expression, contexts));
}

function read(expression: string, contexts: Contexts): string {
  const [, context = '', name = ''] = PROPERTY.exec(expression) ?? [];
  const values = contexts[context];
  if (values === undefined) {
    throw new ExpressionError(`The simulated GitHub does not know the expression: ${expression}`);
  }
  return String(values[name] ?? '');
}
