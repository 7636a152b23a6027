/** Where commands print and what they print: text, or with `--json` one JSON document. */
export interface Output {
  readonly environment: NodeJS.ProcessEnv;
  readonly now: () => number;
  write(text: string): void;
  /** How something goes that takes a while: beside the output proper. */
  writeProgress(text: string): void;
}

/** Writes `value` as JSON when that was asked for, else what `present` makes of it. */
export function show<T>(
  output: Output,
  shown: { readonly json: boolean; readonly value: T; readonly present: (value: T) => string },
): void {
  const text = shown.json ? JSON.stringify(shown.value, null, 2) : shown.present(shown.value);
  output.write(`${text}\n`);
}
