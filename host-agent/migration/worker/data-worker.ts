/** A VM's data worker: the thread in which page data is handled. One VM each; see data-commands.ts. */
import { parentPort } from 'node:worker_threads';
import type { DataCommands, DataEvent } from './data-commands.ts';
import { DataPlane } from './data-plane.ts';
import { serveCalls } from './worker-calls.ts';

if (parentPort === null) throw new Error('this is a worker thread');
const plane = new DataPlane((event) => emit(event));
const emit = serveCalls<DataCommands, DataEvent>(parentPort, plane.handlers);
