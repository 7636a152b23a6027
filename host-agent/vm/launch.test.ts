import { expect, test } from 'vitest';
import { launchArguments, parseStartTicks } from './launch.ts';

function statLine(name: string, state: string): string {
  const fields = Array.from({ length: 30 }, (_, index) => String(index + 4));
  return `4711 (${name}) ${state} ${fields.join(' ')}`;
}

test.each(['qemu-system-x86', 'a) Z 1', 'two words'])('finds the start time after (%s)', (name) => {
  expect(parseStartTicks(statLine(name, 'S'))).toBe('22');
});

test.each(['Z', 'X'])('a process in state %s is gone', (state) => {
  expect(parseStartTicks(statLine('qemu', state))).toBeUndefined();
});

test('QEMU comes last, without privileges, in its namespace', () => {
  const args = launchArguments({ netnsPath: '/run/netns/x', qemuArgs: ['-S'], user: 7 });
  expect(args[0]).toBe('--net=/run/netns/x');
  expect(args).toContain('--reuid=7');
  expect(args).toContain('--bounding-set=-all');
  expect(args.slice(-2)).toEqual(['qemu-system-x86_64', '-S']);
});
