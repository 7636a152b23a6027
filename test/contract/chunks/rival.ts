/** `node rival.ts FOLDER TIMES`: adds one to the object `counter` so many times, against its rivals. */
import { ConditionFailedError } from '../../../host-agent/chunks/chunk-errors.ts';
import { openBackend } from '../../../host-agent/chunks/open-backend.ts';

const [path = '', times = '0'] = process.argv.slice(2);
const { signal } = new AbortController();
const backend = await openBackend({ kind: 'folder', path });
for (let done = 0; done < Number(times); ) {
  const { body, etag } = await backend.get('counter', { signal });
  const next = Buffer.from(String(Number(body.toString()) + 1));
  try {
    await backend.put('counter', next, { signal, condition: { kind: 'matches', etag } });
    done += 1;
  } catch (error) {
    if (!(error instanceof ConditionFailedError)) throw error;
  }
}
