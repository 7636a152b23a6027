/** Programs of bpf/build/test on packets, with maps of their own that nothing else sees. */
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import {
  closeMaps,
  createMaps,
  loadProgram,
  type MapSet,
  OBJECTS_FOLDER,
  type ProgramName,
  readObject,
  type TestRun,
  type TestRunResult,
  testRun,
} from '../../../../host-agent/net/bpf/programs.ts';

/** TC_ACT_…. */
export const PASSED = 0;
export const DROPPED = 2;
export const REDIRECTED = 7;

export interface Lab {
  readonly maps: MapSet;
  run(program: ProgramName, packet: TestRun): TestRunResult;
  close(): void;
}

export function openLab(names: readonly ProgramName[], vmNumber = 0): Lab {
  const maps: MapSet = new Map();
  const programs = new Map(
    names.map((name) => {
      const object = readObject(name, join(OBJECTS_FOLDER, 'test'));
      createMaps(object, maps);
      return [name, loadProgram(object, maps, { VM_NUMBER: vmNumber })];
    }),
  );
  return {
    maps,
    run: (name, packet) => {
      const program = programs.get(name);
      if (program === undefined) throw new Error(`${name} is not in this lab`);
      return testRun(program, packet);
    },
    close: () => {
      for (const program of programs.values()) closeSync(program);
      closeMaps(maps);
    },
  };
}
