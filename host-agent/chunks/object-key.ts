import { ArchitectError } from '../protocol/errors.ts';

const MAX_KEY_BYTES = 512;
/** No segment begins with a dot: that keeps `..` out, and the folder backend's own files apart. */
const KEY = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;

/** A program fault, or a forged name: nothing was touched. */
export class ObjectKeyError extends ArchitectError {
  readonly code = 'OBJECT_KEY';
  readonly retry = 'never';
}

/** Throws ObjectKeyError for a key that not every store takes as it is, or that could leave a folder. */
export function checkKey(key: string): string {
  if (key.length <= MAX_KEY_BYTES && KEY.test(key)) return key;
  throw new ObjectKeyError('This is not the key of an object in the chunk store.', {
    context: { key: key.slice(0, 100) },
  });
}

/** A prefix is a key, with or without a slash at its end, or nothing at all. */
export function checkPrefix(prefix: string): string {
  if (prefix !== '') checkKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
  return prefix;
}
