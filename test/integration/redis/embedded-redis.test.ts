import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { isRunning, readProcess } from '../../../app/process-ref.ts';
import { connectRedis, type RedisConnections } from '../../../app/redis/connections.ts';
import { startEmbeddedRedis } from '../../../app/redis/embedded-redis.ts';
import { RedisStartError } from '../../../app/redis/errors.ts';
import { startTestRedis, type TestRedis } from './start-redis.ts';

const logger = pino({ level: 'silent' });
const WAIT = { timeout: 20_000, interval: 25 };
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startRedis(): Promise<TestRedis> {
  const redis = await startTestRedis();
  cleanups.push(() => redis.stop());
  return redis;
}

async function connect(redis: TestRedis): Promise<RedisConnections> {
  const connections = connectRedis(redis.address, logger);
  cleanups.push(() => connections.close());
  await vi.waitUntil(() => connections.isReady(), WAIT);
  return connections;
}

function restart(dataDir: string, program?: string) {
  return startEmbeddedRedis({ dataDir, fleet: 'test', logger, ...(program ? { program } : {}) });
}

async function pidOf(redis: TestRedis): Promise<number> {
  const pid = await vi.waitUntil(() => redis.pid(), WAIT);
  if (pid === undefined) throw new Error('no server');
  return pid;
}

test('the private server listens on a socket in a private folder only, for its fleet', async () => {
  const redis = await startRedis();
  const { commands } = await connect(redis);
  expect(await commands.config('GET', 'port')).toEqual(['port', '0']);
  expect(await commands.config('GET', 'maxmemory-policy')).toEqual([
    'maxmemory-policy',
    'noeviction',
  ]);
  expect((await stat(join(redis.dataDir, 'redis'))).mode & 0o777).toBe(0o700);
  const environment = await readFile(`/proc/${await pidOf(redis)}/environ`, 'latin1');
  expect(environment.split('\0')).toContain('ARCHITECT_FLEET=test');
});

test('what was written is there after a stop and a start', async () => {
  const redis = await startRedis();
  await (await connect(redis)).commands.set('kept', 'yes');
  const pid = await pidOf(redis);
  const first = connectRedis(redis.address, logger);
  cleanups.push(() => first.close());
  process.kill(pid, 'SIGTERM');
  await vi.waitUntil(async () => readProcess(pid) === undefined, WAIT);
  await vi.waitUntil(() => first.isReady(), WAIT);
  expect(await first.commands.get('kept')).toBe('yes');
});

test('a killed server is started again, and the connections resume by themselves', async () => {
  const redis = await startRedis();
  const connections = await connect(redis);
  const killed = await pidOf(redis);
  process.kill(killed, 'SIGKILL');
  await vi.waitUntil(async () => !(await connections.isReady()), WAIT);
  await expect(connections.commands.set('a', 'b')).rejects.toThrow();
  await vi.waitUntil(() => connections.isReady(), WAIT);
  expect(await connections.commands.set('a', 'b')).toBe('OK');
  expect(redis.pid()).not.toBe(killed);
});

test('a second control plane on the same folder is told who owns it', async () => {
  const redis = await startRedis();
  const file = join(redis.dataDir, 'redis', 'owner.json');
  const other = execa('sleep', ['60'], { reject: false });
  cleanups.push(async () => other.kill());
  const owner = readProcess(other.pid ?? 0);
  const mine: { server: unknown } = JSON.parse(await readFile(file, 'utf8'));
  await writeFile(file, JSON.stringify({ owner, server: mine.server }));
  await expect(restart(redis.dataDir)).rejects.toThrow(`process ${other.pid}`);
  expect(readProcess(await pidOf(redis))).toBeDefined();
});

test('the server ends with an owner that is killed, and the next start gets the data', async () => {
  const dataDir = join(tmpdir(), `ar-redis-crash-${process.pid}`);
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
  const source = `
    import { pino } from 'pino';
    import { startEmbeddedRedis } from ${JSON.stringify(import.meta.resolve('../../../app/redis/embedded-redis.ts'))};
    const redis = await startEmbeddedRedis({ dataDir: process.argv[1], fleet: 'test', logger: pino({ level: 'silent' }) });
    console.log(redis.pid());
    setInterval(() => {}, 1000);
  `;
  const owner = execa(process.execPath, ['--input-type=module', '-e', source, dataDir], {
    cwd: process.cwd(),
    reject: false,
  });
  cleanups.push(async () => owner.kill('SIGKILL'));
  const { value } = await owner[Symbol.asyncIterator]().next();
  const serverPid = Number(value);
  const server = readProcess(serverPid);
  cleanups.push(async () => {
    if (server !== undefined && isRunning(server)) process.kill(serverPid, 'SIGKILL');
  });
  expect(server).toBeDefined();
  owner.kill('SIGKILL');
  await vi.waitUntil(async () => readProcess(serverPid) === undefined, WAIT);
  const next = await restart(dataDir);
  cleanups.push(() => next.stop());
  expect(next.pid()).not.toBe(serverPid);
});

test('a server left behind by a dead owner is stopped before a new one starts', async () => {
  const left = await startRedis();
  const leftPid = await pidOf(left);
  const file = join(left.dataDir, 'redis', 'owner.json');
  const mine: { owner: { pid: number }; server: unknown } = JSON.parse(
    await readFile(file, 'utf8'),
  );
  const gone = { pid: mine.owner.pid, startTime: '1' };
  await writeFile(file, JSON.stringify({ owner: gone, server: mine.server }));
  const next = await restart(left.dataDir);
  cleanups.push(() => next.stop());
  expect(readProcess(leftPid)).toBeUndefined();
});

test('without redis-server the error says what to install', async () => {
  const redis = await startRedis();
  await redis.stop();
  cleanups.push(() => rm(redis.dataDir, { recursive: true, force: true }));
  await expect(restart(redis.dataDir, 'no-such-redis-server')).rejects.toThrow(/npm run setup/);
});

test('an unreadable append-only file names the repair, and no server stays', async () => {
  const dataDir = join(tmpdir(), `ar-redis-aof-${process.pid}`);
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
  const first = await restart(dataDir);
  const connections = connectRedis({ kind: 'socket', path: first.socketPath }, logger);
  cleanups.push(() => connections.close());
  await vi.waitUntil(() => connections.isReady(), WAIT);
  for (let index = 0; index < 50; index += 1) await connections.commands.set(`k${index}`, 'v');
  await first.stop();
  const folder = join(dataDir, 'redis', 'appendonlydir');
  const name = (await readdir(folder)).find((file) => file.endsWith('.incr.aof')) ?? '';
  const bytes = await readFile(join(folder, name));
  bytes.fill('x', 40, 90);
  await writeFile(join(folder, name), bytes);
  const failure = await restart(dataDir).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(RedisStartError);
  expect(failure).toHaveProperty('message', expect.stringContaining('redis-check-aof --fix'));
});

test('on a full disk writes are refused, and taken again when there is room', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'ar-redis-full-'));
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', dataDir]);
  cleanups.push(() => execa('umount', ['--lazy', dataDir]));
  const server = await restart(dataDir);
  cleanups.push(() => server.stop());
  const connections = connectRedis({ kind: 'socket', path: server.socketPath }, logger);
  cleanups.push(() => connections.close());
  expect(await connections.whenReady(WAIT.timeout)).toBe(true);
  const filler = join(dataDir, 'filler');
  await execa('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'], { reject: false });
  await vi.waitUntil(async () => {
    await connections.commands.set('key', 'x'.repeat(10_000)).catch(() => undefined);
    return !(await connections.isReady());
  }, WAIT);
  await expect(connections.commands.set('key', 'x')).rejects.toThrow();
  await expect(restart(`${dataDir}/other`)).rejects.toThrow(/is full/);
  await rm(filler);
  await vi.waitUntil(() => connections.isReady(), WAIT);
  expect(await connections.commands.set('key', 'y')).toBe('OK');
});

test('a folder whose path does not fit a socket is refused before anything starts', async () => {
  await expect(restart(`/tmp/${'a'.repeat(100)}`)).rejects.toThrow(/Shorten ARCHITECT_HOME/);
});
