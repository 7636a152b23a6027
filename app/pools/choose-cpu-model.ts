/**
 * Which QEMU CPU model the guests of a pool get, and which hosts may be in the pool. Pure.
 *
 *   reports ─ one vendor? ─→ candidates, in order of preference ─→ the first that enough hosts offer
 *                │ no                                                   │ none
 *                └──────────────────────→ refused, because ←────────────┘
 *
 * A guest can move among hosts only if each gives it the same CPU, so the model is the newest that
 * all of them have completely, not the best of any.
 *
 * Invariants:
 * - Vendors are never mixed: AMD and Intel differ in more than features.
 * - A host is admitted only if its own QEMU said that it offers the model completely. Flags explain a
 *   refusal; they admit nobody (cpu-flags.ts).
 * - Only versioned models: what `Skylake-Server` means depends on the machine type.
 * - Nothing is guessed: no report, an unknown vendor, no model in common are refusals.
 *
 * Unproven. No guest has moved between two different real CPUs here: moves were tried under software
 * emulation alone, with qemu64, Nehalem and Westmere. The same model on two generations of CPU gives
 * the same CPUID; whether it hides every difference is not known to us: TSC frequency and its scaling,
 * size and layout of the XSAVE area, MSRs that are not in the model, errata and microcode, the
 * results of approximating instructions (RSQRTPS, RCPPS), and what a guest kernel chose at its start
 * (mitigations, by the CPU's bugs, which CPUID does not all show).
 */
import { judgeFlags } from './cpu-flags.ts';
import { QEMU_CPU_MODELS, type QemuCpuModel } from './qemu-cpu-models.ts';

export interface CpuReport {
  /** What to call the host: its id, or an instance type. */
  readonly host: string;
  /** As in /proc/cpuinfo. */
  readonly vendor: string;
  readonly features: readonly string[];
  /** Models that its QEMU offers completely under its accelerator: HostFacts.cpuModels. */
  readonly cpuModels: readonly string[];
}

export interface CpuVerdict {
  readonly host: string;
  readonly admitted: boolean;
  /** Flags that the model needs and the host does not show; may be empty although not admitted. */
  readonly lacks: readonly string[];
  readonly why: string;
}

export type CpuModelChoice =
  | {
      readonly kind: 'chosen';
      readonly model: string;
      readonly vendor: string;
      readonly why: string;
      readonly verdicts: readonly CpuVerdict[];
    }
  /** The verdicts are on the model that most hosts offer, so that one sees what stands in the way. */
  | { readonly kind: 'refused'; readonly why: string; readonly verdicts: readonly CpuVerdict[] };

export interface CpuModelQuestion {
  readonly reports: readonly CpuReport[];
  /** The most wanted first; by default every model that is known here. */
  readonly candidates?: readonly QemuCpuModel[];
  /** Hosts that must be admitted; by default all of them. */
  readonly leastAdmitted?: number;
}

const SHOWN_FLAGS = 12;

export function chooseCpuModel(question: CpuModelQuestion): CpuModelChoice {
  const { reports, candidates = QEMU_CPU_MODELS } = question;
  const least = Math.max(1, question.leastAdmitted ?? reports.length);
  const vendor = commonVendor(reports);
  if (vendor.kind === 'refused') return { kind: 'refused', why: vendor.why, verdicts: [] };
  const fitting = candidates.filter(
    (candidate) =>
      isVersioned(candidate.model) &&
      (candidate.vendor === null || candidate.vendor === vendor.name),
  );
  const chosen = fitting.find((candidate) => countOffers(candidate, reports) >= least);
  if (chosen !== undefined) return choose(chosen, { reports, fitting, vendor: vendor.name });
  const nearest = mostOffered(fitting, reports);
  const why =
    nearest === undefined
      ? `No versioned CPU model for ${vendor.name} hosts is among the candidates.`
      : `No CPU model is offered completely by ${least} of the ${reports.length} hosts; ` +
        `${nearest.model} is offered by ${countOffers(nearest, reports)}.`;
  const verdicts = nearest === undefined ? [] : reports.map((report) => judgeHost(nearest, report));
  return { kind: 'refused', why, verdicts };
}

/** Reports by vendor, for one pool each. A report without a known vendor is in none. */
export function splitByVendor(
  reports: readonly CpuReport[],
): ReadonlyMap<string, readonly CpuReport[]> {
  const known = reports.filter(({ vendor }) => isKnownVendor(vendor));
  return new Map(
    Object.entries(Object.groupBy(known, ({ vendor }) => vendor)).map(
      ([vendor, group]) => [vendor, group ?? []] as const,
    ),
  );
}

/** What a list of hosts can show of the choice: one line for the pool, then one for each host. */
export function describeCpuChoice(choice: CpuModelChoice): readonly string[] {
  const title = choice.kind === 'chosen' ? `CPU model ${choice.model}` : 'No CPU model';
  return [
    `${title}: ${choice.why}`,
    ...choice.verdicts.map(({ host, admitted, why }) =>
      admitted ? `  ${host}: admitted` : `  ${host}: not admitted. ${why}`,
    ),
  ];
}

export function judgeHost(model: QemuCpuModel, report: CpuReport): CpuVerdict {
  const { host } = report;
  if (report.cpuModels.includes(model.model)) {
    const why = `Its QEMU offers ${model.model} completely.`;
    return { host, admitted: true, lacks: [], why };
  }
  const { lacks, untold } = judgeFlags(model, report.features);
  return { host, admitted: false, lacks, why: explain(model.model, lacks, untold) };
}

function explain(model: string, lacks: readonly string[], untold: readonly string[]): string {
  if (lacks.length > 0) {
    const more = lacks.length > SHOWN_FLAGS ? ` and ${lacks.length - SHOWN_FLAGS} more` : '';
    return `It lacks ${lacks.slice(0, SHOWN_FLAGS).join(', ')}${more}, which ${model} needs.`;
  }
  const untoldOf = untold.length > 0 ? ` (perhaps ${untold.join(', ')})` : '';
  return (
    `Its QEMU does not offer ${model} completely, for a reason that its flags do not show` +
    `${untoldOf}; or its QEMU is too old to know it.`
  );
}

function choose(
  chosen: QemuCpuModel,
  given: {
    readonly reports: readonly CpuReport[];
    readonly fitting: readonly QemuCpuModel[];
    readonly vendor: string;
  },
): CpuModelChoice {
  const { reports, fitting, vendor } = given;
  const verdicts = reports.map((report) => judgeHost(chosen, report));
  const admitted = verdicts.filter((verdict) => verdict.admitted).length;
  const better = fitting[fitting.indexOf(chosen) - 1];
  const behind = better === undefined ? '' : ` ${whyNot(better, reports)}`;
  const why = `${admitted} of ${reports.length} ${vendor} hosts offer it completely.${behind}`;
  return { kind: 'chosen', model: chosen.model, vendor, why, verdicts };
}

function whyNot(model: QemuCpuModel, reports: readonly CpuReport[]): string {
  const without = reports
    .map((report) => judgeHost(model, report))
    .filter(({ admitted }) => !admitted);
  const [first] = without;
  if (first === undefined) return '';
  const who = without.length === 1 ? first.host : `${without.length} hosts, such as ${first.host}`;
  return `The next better one, ${model.model}, is not offered by ${who}: ${first.why}`;
}

type CommonVendor =
  | { readonly kind: 'vendor'; readonly name: string }
  | { readonly kind: 'refused'; readonly why: string };

function commonVendor(reports: readonly CpuReport[]): CommonVendor {
  const unknown = reports.find(({ vendor }) => !isKnownVendor(vendor));
  if (unknown !== undefined) {
    const why = `${unknown.host} does not say whose CPU it has (${unknown.vendor}).`;
    return { kind: 'refused', why };
  }
  const [name, ...others] = [...new Set(reports.map(({ vendor }) => vendor))].sort();
  if (name === undefined) return { kind: 'refused', why: 'There is no host to choose for.' };
  if (others.length === 0) return { kind: 'vendor', name };
  const all = [name, ...others].join(' and ');
  return { kind: 'refused', why: `${all} hosts cannot share a pool: make one for each vendor.` };
}

function isKnownVendor(vendor: string): boolean {
  return vendor === 'GenuineIntel' || vendor === 'AuthenticAMD';
}

function isVersioned(model: string): boolean {
  return /-v\d+$/.test(model);
}

function countOffers({ model }: QemuCpuModel, reports: readonly CpuReport[]): number {
  return reports.filter(({ cpuModels }) => cpuModels.includes(model)).length;
}

/** Among equals the more wanted one. */
function mostOffered(
  models: readonly QemuCpuModel[],
  reports: readonly CpuReport[],
): QemuCpuModel | undefined {
  let best: QemuCpuModel | undefined;
  for (const model of models) {
    if (best === undefined || countOffers(model, reports) > countOffers(best, reports))
      best = model;
  }
  return best;
}
