import { expect, test } from 'vitest';
import { fitsSocketPath, serverArguments, serverPaths } from './server-settings.ts';

test('the private server has no TCP port, keeps every write and evicts nothing', () => {
  const text = serverArguments(serverPaths('/data')).join(' ');
  expect(text).toContain('--port 0');
  expect(text).toContain('--unixsocket /data/redis/redis.sock');
  expect(text).toContain('--appendonly yes --appendfsync everysec');
  expect(text).toContain('--maxmemory-policy noeviction');
});

test('a socket path may have 107 bytes', () => {
  expect(fitsSocketPath(`/${'a'.repeat(106)}`)).toBe(true);
  expect(fitsSocketPath(`/${'ä'.repeat(54)}`)).toBe(false);
});
