/** `ask.ts URL INIT`: one HTTP request from this namespace; prints status and body as JSON. */
import { z } from 'zod';

const Init = z.object({
  method: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
});
const LIMIT_MS = 2_000;

const [url = '', init = '{}'] = process.argv.slice(2);
const { method = 'GET', headers = {} } = Init.parse(JSON.parse(init));
const response = await fetch(url, { method, headers, signal: AbortSignal.timeout(LIMIT_MS) });
process.stdout.write(JSON.stringify({ status: response.status, body: await response.text() }));
