/** The bench's hold on one host's process: calls with answers, marks as they come, and its end. */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import type { CheckpointMark } from '../../../host-agent/migration/checkpoint-trace.ts';
import type { SwitchoverMark } from '../../../host-agent/migration/switchover-trace.ts';
import type { AgentOutcome, AgentRequest } from '../../../host-agent/protocol/messages.ts';
import { type HostCall, HostLine, type HostPicture, type MoveHostTask } from './host-messages.ts';

const END_LIMIT_MS = 120_000;
const CALL_LIMIT_MS = 60_000;

type Mark = Pick<SwitchoverMark, 'atMs'> & { readonly step: string };

export class HostLink {
  readonly task: MoveHostTask;
  readonly #child;
  readonly #calls = new Map<number, PromiseWithResolvers<HostLine>>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #marks: Mark[] = [];
  readonly #checkpoints: CheckpointMark[] = [];
  #nextId = 1;

  private constructor(netns: string, task: MoveHostTask) {
    this.task = task;
    const program = join(import.meta.dirname, 'host-process.ts');
    const trace = join(import.meta.dirname, 'trace.ts');
    const node = [process.execPath, '--import', trace, program];
    this.#child = execa('nsenter', [`--net=/run/netns/${netns}`, ...node], {
      stdin: 'pipe',
      stderr: 'inherit',
      buffer: false,
      reject: false,
      env: { ARCHITECT_FLEET: task.fleet },
      forceKillAfterDelay: END_LIMIT_MS,
    });
    this.#ready.promise.catch(() => undefined);
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#take(line));
    void this.#child.then(({ exitCode }) => this.#over(`it ended with exit code ${exitCode}`));
    this.#write(task);
  }

  /** Rejects when the process ends before it is ready. */
  static async start(netns: string, task: MoveHostTask): Promise<HostLink> {
    const link = new HostLink(netns, task);
    await link.#ready.promise;
    return link;
  }

  /** Throws what the host could not do; a refusal is an outcome. */
  async serve(request: AgentRequest): Promise<AgentOutcome> {
    const line = await this.#call((id) => ({ kind: 'serve', id, request }), CALL_LIMIT_MS);
    if (line.kind !== 'outcome') throw new Error(`host answers ${line.kind}`);
    return line.outcome;
  }

  async look(): Promise<HostPicture> {
    const line = await this.#call((id) => ({ kind: 'look', id }), CALL_LIMIT_MS);
    if (line.kind !== 'picture') throw new Error(`host answers ${line.kind}`);
    return line.picture;
  }

  /** In a guest that was started on this host. Gives what it wrote. */
  async run(vmId: string, script: string, timeoutMs = CALL_LIMIT_MS): Promise<string> {
    const call = (id: number) => ({ kind: 'run', id, vmId, script, timeoutMs }) as const;
    const line = await this.#call(call, timeoutMs + CALL_LIMIT_MS);
    if (line.kind !== 'output') throw new Error(`host answers ${line.kind}`);
    return line.text;
  }

  /** Those since the last call. */
  takeMarks(): readonly Mark[] {
    return this.#marks.splice(0);
  }

  /** Those since the last call. */
  takeCheckpoints(): readonly CheckpointMark[] {
    return this.#checkpoints.splice(0);
  }

  /** Its VMs go with it. */
  async end(): Promise<void> {
    this.#child.stdin.end();
    await this.#child;
  }

  async #call(make: (id: number) => HostCall, limitMs: number): Promise<HostLine> {
    const id = this.#nextId++;
    const answer = Promise.withResolvers<HostLine>();
    this.#calls.set(id, answer);
    const late = () => answer.reject(new Error(`the host did not answer within ${limitMs} ms`));
    const timer = setTimeout(late, limitMs);
    this.#write(make(id));
    const line = await answer.promise.finally(() => {
      clearTimeout(timer);
      this.#calls.delete(id);
    });
    if (line.kind === 'failed') throw new Error(line.why);
    return line;
  }

  #take(text: string): void {
    const line = HostLine.parse(JSON.parse(text));
    if (line.kind === 'ready') this.#ready.resolve();
    else if (line.kind === 'mark') this.#marks.push(line.mark);
    else if (line.kind === 'checkpoint') this.#checkpoints.push(line.cost);
    else this.#calls.get(line.id)?.resolve(line);
  }

  #write(message: HostCall | MoveHostTask): void {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  #over(why: string): void {
    const error = new Error(`A host of the bench is gone: ${why}.`);
    this.#ready.reject(error);
    for (const { reject } of this.#calls.values()) reject(error);
  }
}
