/** Measures this host. Read once at the agent's start: none of it changes while a host lives. */
import { readFile, statfs } from 'node:fs/promises';
import { availableParallelism, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { ArchitectError } from '../protocol/errors.ts';
import type { Accelerator, HostFacts } from '../protocol/host-facts.ts';
import { chooseCapacity } from './choose-capacity.ts';
import { chooseCgroupVersion, unifiedMountPoints } from './parse-cgroup.ts';
import { parseCpuinfo } from './parse-cpuinfo.ts';
import { isAtLeast, LEAST_QEMU, parseQemuAnswers, type QemuFacts } from './parse-qemu.ts';

const QEMU_TIMEOUT_MS = 20_000;
const QEMU_ANSWER_LIMIT_BYTES = 4 * 1024 * 1024;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export class UnsuitableHostError extends ArchitectError {
  readonly code = 'UNSUITABLE_HOST';
  readonly retry = 'never';
}

export interface HostFactsRequest {
  readonly accelerator: { readonly accelerator: Accelerator; readonly why: string };
  /** VM folders will be made here; it exists. */
  readonly vmsDir: string;
  readonly capacity: { readonly vcpus: number; readonly memoryMib: number } | undefined;
  readonly signal: AbortSignal;
}

/** Throws UnsuitableHostError when this machine cannot be a host at all. */
export async function readHostFacts(request: HostFactsRequest): Promise<HostFacts> {
  const arch = hostArchitecture();
  const [qemu, cpuinfo, cgroup, disk] = await Promise.all([
    readQemuFacts(request.accelerator.accelerator, request.signal),
    readFile('/proc/cpuinfo', 'utf8'),
    readCgroupVersion(),
    statfs(request.vmsDir),
  ]);
  const machine = {
    cpus: availableParallelism(),
    memoryMib: totalmem() / MIB,
    diskFreeGib: (disk.bavail * disk.bsize) / GIB,
  };
  return {
    arch,
    accelerator: request.accelerator.accelerator,
    acceleratorWhy: request.accelerator.why.slice(0, 500),
    cpu: parseCpuinfo(cpuinfo),
    cpuModels: [...qemu.cpuModels],
    capacity: chooseCapacity(machine, request.capacity),
    kernel: release().slice(0, 128),
    qemuVersion: qemu.version,
    cgroup,
  };
}

function hostArchitecture(): 'x64' | 'arm64' {
  if (process.arch === 'x64' || process.arch === 'arm64') return process.arch;
  throw new UnsuitableHostError(
    `Architect runs on x64 and arm64; this machine is ${process.arch}.`,
  );
}

async function readQemuFacts(accelerator: Accelerator, signal: AbortSignal): Promise<QemuFacts> {
  const binary = process.arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64';
  const qemuAccelerator = accelerator === 'tcg' ? 'tcg' : 'kvm';
  const machine = ['-machine', 'none', '-accel', qemuAccelerator, '-nodefaults'];
  const commands = ['qmp_capabilities', 'query-cpu-definitions', 'quit'];
  const { stdout, failed, shortMessage } = await execa(
    binary,
    [...machine, '-display', 'none', '-S', '-qmp', 'stdio'],
    {
      input: commands.map((execute) => `${JSON.stringify({ execute })}\n`).join(''),
      timeout: QEMU_TIMEOUT_MS,
      cancelSignal: signal,
      maxBuffer: QEMU_ANSWER_LIMIT_BYTES,
      reject: false,
    },
  );
  const facts = parseQemuAnswers(stdout);
  if (facts === undefined) {
    throw new UnsuitableHostError(
      `${binary} does not run here${failed ? ` (${shortMessage})` : ''}. Install QEMU ${LEAST_QEMU} or newer.`,
    );
  }
  if (isAtLeast(facts.version, LEAST_QEMU)) return facts;
  throw new UnsuitableHostError(
    `${binary} is version ${facts.version}; install ${LEAST_QEMU} or newer (on Debian 12 from backports).`,
  );
}

async function readCgroupVersion() {
  const mounts = await readFile('/proc/mounts', 'utf8');
  const controllers = new Map<string, string>();
  for (const path of unifiedMountPoints(mounts)) {
    const text = await readFile(join(path, 'cgroup.controllers'), 'utf8').catch(() => '');
    controllers.set(path, text);
  }
  return chooseCgroupVersion(mounts, controllers);
}
