/** YAML (and so JSON) with the place of each value in its text, so that an error can point there. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';

/** A settings file is a few kilobytes; more is a mistake or an attack. */
export const MAX_YAML_BYTES = 256 * 1024;
/** How often aliases may be followed: a short text must not unfold into gigabytes. */
const MAX_ALIASES = 100;

/** From 1, as editors count. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export type YamlPath = readonly PropertyKey[];

export interface PositionedYaml {
  readonly value: unknown;
  /** Of the value at the path or, where there is none, of the deepest parent that is there. */
  placeOf(path: YamlPath): Place;
  /** Of a key in the mapping at the path. */
  placeOfKey(path: YamlPath, key: string): Place;
}

export interface YamlFault {
  readonly kind: 'fault';
  readonly place: Place;
  readonly message: string;
}

export type ReadYaml = (PositionedYaml & { readonly kind: 'yaml' }) | YamlFault;

const START: Place = { line: 1, column: 1 };

/** An empty text is an empty mapping. Never throws. */
export function readPositionedYaml(text: string): ReadYaml {
  if (Buffer.byteLength(text) > MAX_YAML_BYTES)
    return fault(START, `is larger than ${MAX_YAML_BYTES / 1024} KiB; make it shorter`);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    ...{ lineCounter: lines, prettyErrors: false },
    // Its warnings go to the process, and what they warn of the schema refuses.
    logLevel: 'error',
  });
  const [error] = document.errors;
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (error !== undefined) return fault(placeAt(error.pos[0]), `is not YAML: ${error.message}`);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch {
    return fault(START, 'unfolds its aliases too often; write the values out');
  }
  const walk = (path: YamlPath) => placeAt(offsetOf(document.contents, path));
  return {
    kind: 'yaml',
    value: value ?? {},
    placeOf: walk,
    placeOfKey: (path, key) => placeAt(keyOffsetOf(document.contents, path, key)),
  };
}

/** Undefined where the path leads nowhere. */
export function valueAt(value: unknown, path: YamlPath): unknown {
  let at = value;
  for (const step of path) {
    if (Array.isArray(at)) at = at[Number(step)];
    else at = isMapping(at) ? at[String(step)] : undefined;
  }
  return at;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fault(place: Place, message: string): YamlFault {
  return { kind: 'fault', place, message };
}

/** The value at the end of the path, or undefined with the last offset that was found on the way. */
function offsetOf(contents: unknown, path: YamlPath): number {
  let node = contents;
  let offset = startOf(node) ?? 0;
  for (const step of path) {
    const [next, at] = enter(node, step);
    if (at === undefined) return offset;
    offset = startOf(next) ?? at;
    node = next;
  }
  return offset;
}

function keyOffsetOf(contents: unknown, path: YamlPath, key: string): number {
  let node = contents;
  for (const step of path) [node] = enter(node, step);
  const [, at] = enter(node, key);
  return at ?? offsetOf(contents, path);
}

/** The value below `step`, and where its key or it itself stands. */
function enter(node: unknown, step: PropertyKey): readonly [unknown, number | undefined] {
  if (isMap(node)) {
    const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
    return [pair?.value, startOf(pair?.key)];
  }
  if (isSeq(node)) {
    const item = node.items[Number(step)];
    return [item, startOf(item)];
  }
  return [undefined, undefined];
}

function startOf(node: unknown): number | undefined {
  if (isMap(node) || isSeq(node) || isScalar(node) || isAlias(node)) return node.range?.[0];
  return undefined;
}
