/** Which settings a mapping may hold, by its schema; for a word about a key that is none. Pure. */
import { z } from 'zod';
import type { YamlPath } from './positioned-yaml.ts';

/** Empty where the schema names no keys there. */
export function knownKeys(schema: z.ZodType, path: YamlPath): readonly string[] {
  let at: unknown = schema;
  for (const step of path) at = below(unwrap(at), step);
  const found = unwrap(at);
  return found instanceof z.ZodObject ? Object.keys(found.shape) : [];
}

function below(schema: unknown, step: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[String(step)];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return schema instanceof z.ZodArray ? schema.element : undefined;
}

function unwrap(schema: unknown): unknown {
  let at = schema;
  while (
    at instanceof z.ZodDefault ||
    at instanceof z.ZodPrefault ||
    at instanceof z.ZodOptional ||
    at instanceof z.ZodNullable
  )
    at = at.unwrap();
  return at;
}
