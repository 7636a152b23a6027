/** What the private redis-server is told: a pure plan, so that it can be read and tested. */
import { join } from 'node:path';

/** sun_path of unix(7), less the closing zero. */
const MAX_SOCKET_PATH_BYTES = 107;

export interface ServerPaths {
  readonly dir: string;
  readonly socket: string;
  readonly log: string;
  readonly owner: string;
  readonly appendOnlyManifest: string;
}

export function serverPaths(dataDir: string): ServerPaths {
  const dir = join(dataDir, 'redis');
  return {
    dir,
    socket: join(dir, 'redis.sock'),
    log: join(dir, 'redis.log'),
    owner: join(dir, 'owner.json'),
    appendOnlyManifest: join(dir, 'appendonlydir', 'appendonly.aof.manifest'),
  };
}

export function fitsSocketPath(path: string): boolean {
  return Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;
}

/** No TCP port, every write in the append-only file within a second, and never an eviction. */
export function serverArguments(paths: ServerPaths): string[] {
  const settings: Readonly<Record<string, string>> = {
    port: '0',
    unixsocket: paths.socket,
    unixsocketperm: '600',
    dir: paths.dir,
    logfile: paths.log,
    loglevel: 'warning',
    daemonize: 'no',
    // A title would overwrite the environment, by which a sweep finds the fleet's processes.
    'set-proc-title': 'no',
    save: '',
    appendonly: 'yes',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
    'shutdown-timeout': '2',
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}
