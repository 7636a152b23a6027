/** Aborts when the machine shuts down: as with the official runner, that cancels the job. */
export function shutdownSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => controller.abort(new Error(`Got ${name}.`)));
  }
  return controller.signal;
}

/** 0: the result was reported, whatever it is. Never rejects; says what went wrong. */
export async function exitCodeOf(work: Promise<void>): Promise<number> {
  try {
    await work;
    return 0;
  } catch (error) {
    console.error(`An error occurred: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  }
}
