import { ArchitectError } from '../../protocol/errors.ts';

/** The kernel turned a bpf(2) call down; `context.errno` says how. A refused program brings its log. */
export class BpfError extends ArchitectError {
  readonly code = 'BPF';
  readonly retry = 'never';
}

/** A compiled object is missing, or is not what `make -C bpf` builds. */
export class BpfObjectError extends ArchitectError {
  readonly code = 'BPF_OBJECT';
  readonly retry = 'never';
}
