/**
 * One round of asking GitHub for runners, after the round of jobs:
 *
 *   each organisation with the App (or its enterprise), and each other place that a VM's runner is
 *   registered in
 *     taken  → its own job is asked about once more; if that still waits, it gets another VM
 *     gone   → the VM is stopped, and its job gets another with a runner of its own
 *     ghosts → deregistered, unless GitHub says that they are busy
 */
import type { Logger } from 'pino';
import type { VmId } from '../../../host-agent/protocol/ids.ts';
import type { JobPlace } from '../../github/job-facts.ts';
import type { Installation, Listed } from '../../github/survey.ts';
import type { JobSource, Runners } from '../../reconciler/ports.ts';
import { applyJobFacts, type JobBook } from '../../records/apply-job-facts.ts';
import type { JobOrigin, VmRecord } from '../../records/records.ts';
import { judgeRunners, type ListedRunner, type RunnerWords } from './judge-runners.ts';

/** Ghosts that are removed in one round: each costs 5 points. */
const MAX_REMOVALS = 20;

export interface RunnerPollPorts {
  readonly book: JobBook;
  readonly jobSource: Pick<JobSource, 'readJob'>;
  readonly runners: Pick<Runners, 'remove'> & {
    /** Of the organisation, repository or enterprise that the place's runners are registered with. */
    list(place: JobPlace): Promise<Listed<ListedRunner>>;
    /** Whether the limits have room for such a list. */
    mayList(place: JobPlace): boolean;
    /** The same for all places whose runners are registered together. */
    registryKey(place: JobPlace): string;
  };
  readonly now: () => number;
  readonly logger: Logger;
}

interface Scope {
  readonly place: JobPlace;
  readonly vms: VmRecord[];
}

export class RunnerPoll {
  readonly #ports: RunnerPollPorts;

  constructor(ports: RunnerPollPorts) {
    this.#ports = ports;
  }

  /** True when a record changed. One place that fails holds up no other. */
  async round(installations: readonly Installation[]): Promise<boolean> {
    const { runners, book, logger } = this.#ports;
    const vms = await book.store.listVms();
    const live = new Set(vms.map(({ id }) => id));
    let changed = false;
    for (const scope of (await this.#scopes(installations, vms)).values()) {
      const { place } = scope;
      if (!runners.mayList(place)) continue;
      try {
        changed = (await this.#look(scope, live)) || changed;
      } catch (err) {
        logger.warn({ err, owner: place.owner, repo: place.repo }, 'runners were not polled');
      }
    }
    return changed;
  }

  async #scopes(
    installations: readonly Installation[],
    vms: readonly VmRecord[],
  ): Promise<ReadonlyMap<string, Scope>> {
    const scopes = new Map<string, Scope>();
    const scopeOf = (place: JobPlace) => {
      const key = this.#ports.runners.registryKey(place);
      const known = scopes.get(key) ?? { place, vms: [] };
      scopes.set(key, known);
      return known;
    };
    for (const { id, suspended, organization } of installations) {
      if (suspended || organization === undefined) continue;
      scopeOf({ installationId: id, owner: organization, repo: '', scope: 'organization' });
    }
    const dead = new Set(installations.flatMap(({ id, suspended }) => (suspended ? [id] : [])));
    for (const vm of vms) {
      const origin = vm.runnerId === null ? undefined : this.#originOf(vm);
      if (origin !== undefined && !dead.has(origin.installationId)) scopeOf(origin).vms.push(vm);
    }
    return scopes;
  }

  #originOf({ forJob }: VmRecord): JobOrigin | undefined {
    return forJob === null ? undefined : this.#ports.book.evidence.readJob(forJob)?.origin;
  }

  async #look({ place, vms }: Scope, liveVmIds: ReadonlySet<VmId>): Promise<boolean> {
    const askedAtMs = this.#ports.now();
    const { items: listed, complete } = await this.#ports.runners.list(place);
    const words = judgeRunners({ listed, complete, askedAtMs, vms, liveVmIds });
    await this.#removeGhosts(place, words.ghosts);
    let changed = false;
    for (const vm of words.taken) changed = (await this.#noteTaken(vm)) || changed;
    for (const vm of words.gone) changed = (await this.#note(vm, 'gone')) || changed;
    return changed;
  }

  /** It may be its own job's, whose `in_progress` is still on its way. */
  async #noteTaken(vm: VmRecord): Promise<boolean> {
    const { book, jobSource, now } = this.#ports;
    const origin = this.#originOf(vm);
    if (origin === undefined || vm.forJob === null) return false;
    const facts = await jobSource.readJob(origin, vm.forJob);
    if (facts !== undefined) await applyJobFacts(book, facts, now());
    if (facts?.status !== 'queued') return true;
    return this.#note(vm, 'taken');
  }

  async #note({ id }: VmRecord, word: 'taken' | 'gone'): Promise<boolean> {
    const { book, now, logger } = this.#ports;
    let changed = false;
    const vm = await book.store.updateVm(id, now(), (stored) => {
      changed = stored?.phase === 'assigned' && stored.runnerWord !== word;
      return stored !== undefined && changed ? { ...stored, runnerWord: word } : undefined;
    });
    if (vm === undefined || !changed) return false;
    book.evidence.rememberVm(vm);
    await book.evidence.written();
    logger.info({ vmId: id, jobId: vm.forJob, word }, "GitHub's list says so of a runner");
    return true;
  }

  async #removeGhosts(place: JobPlace, ghosts: RunnerWords['ghosts']): Promise<void> {
    const { book, runners, logger } = this.#ports;
    // Another fleet names its runners as we do; its VMs are not known here.
    const ours = ghosts.filter(({ vmId }) => book.evidence.readVm(vmId) !== undefined);
    for (const { runnerId, vmId } of ours.slice(0, MAX_REMOVALS)) {
      const outcome = await runners.remove(place, runnerId);
      logger.info({ runnerId, vmId, outcome }, 'a runner without a VM was to be removed');
    }
  }
}
