import { expect, test } from 'vitest';
import { type QemuSpec, qemuArguments } from './qemu-arguments.ts';
import { templateShape } from './template-shape.ts';

const spec: QemuSpec = {
  shape: templateShape({ accelerator: 'tcg', cpuModel: 'qemu64' }),
  mode: 'start',
  memoryPath: '/t/memory',
  diskChain: ['/v/overlay.qcow2', '/t/disk-delta.qcow2', '/i/disk.raw'],
  imageDir: '/i',
  kernelArguments: 'rw',
  qmpSocket: '/v/qmp.sock',
  guestAgentSocket: '/v/qga.sock',
  tapName: 'tap0',
};

function after(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, index) => (arg === option ? [args[index + 1] ?? ''] : []));
}

test.each<[string, string]>([
  ['-machine', 'pc-q35-8.2,accel=tcg,smm=off,memory-backend=m0'],
  ['-cpu', 'qemu64'],
  ['-m', 'size=4096M,slots=8,maxmem=65536M'],
  ['-incoming', 'defer'],
  ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  ['-netdev', 'tap,id=net0,ifname=tap0,script=no,downscript=no,vhost=off'],
  ['-append', 'root=/dev/vda rw panic=-1 maxcpus=1 noreplace-smp lpj=10000000'],
  ['-qmp', 'unix:/v/qmp.sock,server=on,wait=off'],
])('a start has %s %s', (option, value) => {
  expect(after(qemuArguments(spec), option)).toContain(value);
});

test('nothing runs before the agent says so, in either mode', () => {
  expect(qemuArguments(spec)).toContain('-S');
  expect(qemuArguments({ ...spec, mode: 'capture' })).toContain('-S');
});

test("a start maps the template's memory private and read-only, a capture shares it", () => {
  expect(after(qemuArguments(spec), '-object')[0]).toContain(
    'share=off,mem-path=/t/memory,readonly',
  );
  const capture = qemuArguments({ ...spec, mode: 'capture' });
  expect(after(capture, '-object')[0]).toMatch(/share=on,mem-path=\/t\/memory$/);
  expect(capture).not.toContain('-incoming');
});

test('the disk is the whole chain, and only the overlay is writable', () => {
  const [node = '{}'] = after(qemuArguments(spec), '-blockdev');
  expect(JSON.parse(node)).toMatchObject({
    'node-name': 'overlay',
    driver: 'qcow2',
    file: { filename: '/v/overlay.qcow2' },
    backing: {
      driver: 'qcow2',
      'read-only': true,
      file: { filename: '/t/disk-delta.qcow2' },
      backing: { driver: 'raw', 'read-only': true, file: { filename: '/i/disk.raw' } },
    },
  });
});

test.each([
  ['kvm', '1,maxcpus=16', 'accel=kvm', 'qemu64'],
  ['pvm', '1,maxcpus=16', 'accel=kvm', 'qemu64,-arch-capabilities'],
  ['tcg', '8,maxcpus=8', 'accel=tcg', 'qemu64'],
] as const)('%s gets its own CPUs', (accelerator, smp, accel, cpu) => {
  const args = qemuArguments({
    ...spec,
    shape: templateShape({ accelerator, cpuModel: 'qemu64' }),
  });
  expect(after(args, '-smp')).toEqual([smp]);
  expect(after(args, '-machine')[0]).toContain(accel);
  expect(after(args, '-cpu')).toEqual([cpu]);
  expect(after(args, '-append')[0]?.includes('lpj=')).toBe(accelerator === 'tcg');
});

test('capture and clone differ only in memory, state and whether the disk is synced', () => {
  const capture = qemuArguments({ ...spec, mode: 'capture' });
  const start = qemuArguments(spec);
  const different = start.filter((arg) => !capture.includes(arg));
  const [memory, node] = [expect.stringContaining('mem-path'), expect.stringContaining('overlay')];
  expect(different).toEqual([memory, node, '-incoming', 'defer']);
});

test.each([
  ['start', true],
  ['arrive', true],
  ['capture', false],
] as const)('with %s the overlay is unsynced: %s', (mode, isUnsynced) => {
  const [node = '{}'] = after(qemuArguments({ ...spec, mode }), '-blockdev');
  const cache = { 'no-flush': isUnsynced };
  expect(JSON.parse(node)).toMatchObject({ cache, file: { cache } });
});
