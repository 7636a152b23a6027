/**
 * Turns a Debian root into a guest: our files, programs and users in, whatever differs from build
 * to build or that a job's VM does not need out. Everything here must give the same bytes for the
 * same inputs; `freezeTimes` comes last for that reason.
 */
import {
  chmod,
  chown,
  cp,
  lutimes,
  mkdir,
  readdir,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { type Profile, SOURCE_DATE_EPOCH } from './profiles.ts';

const STEP_TIMEOUT_MS = 5 * 60_000;
export const RUNNER_UID = 1001;

/** Folder in this repository whose tree is laid over the guest's root. */
const GUEST_FILES = join(import.meta.dirname, 'guest', 'files');
const GUEST_SOURCES = join(import.meta.dirname, 'guest', 'src');

/** Units that no job needs, or that would write into the image or the template. */
const MASKED_UNITS = [
  'apt-daily-upgrade.timer',
  'apt-daily.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty.target',
  'getty@tty1.service',
  'ldconfig.service',
  'man-db.timer',
  'nvmefc-boot-connections.service',
  'serial-getty@ttyS0.service',
  'ssh.service',
  'ssh.socket',
  'sshd-keygen.service',
  'systemd-ask-password-wall.path',
  'systemd-binfmt.service',
  'systemd-boot-random-seed.service',
  'systemd-firstboot.service',
  'systemd-hibernate-clear.service',
  'systemd-hwdb-update.service',
  'systemd-journal-catalog-update.service',
  'systemd-logind.service',
  'systemd-machine-id-commit.service',
  'systemd-pcrmachine.service',
  'systemd-pcrphase-sysinit.service',
  'systemd-pcrphase.service',
  'systemd-pstore.service',
  'systemd-random-seed.service',
  'systemd-sysusers.service',
  'systemd-timesyncd.service',
  'systemd-tmpfiles-clean.timer',
  'systemd-tpm2-setup-early.service',
  'systemd-tpm2-setup.service',
  'systemd-update-done.service',
  'systemd-update-utmp.service',
  // A tmpfs would be sized by the template's small memory; /tmp is on the disk.
  'tmp.mount',
] as const;

/** Files that package scripts wrote with times, random bytes or this machine's names in them. */
const REMOVED_PATHS = [
  'etc/apt/apt.conf.d/99mmdebstrap',
  'etc/hostname',
  'etc/resolv.conf',
  'etc/ssl/certs/java',
  'initrd.img.old',
  'vmlinuz.old',
  'root/.bash_history',
  'var/cache/ldconfig/aux-cache',
  'var/lib/dbus/machine-id',
  'var/lib/systemd/random-seed',
  'var/lib/systemd/credential.secret',
] as const;

/** Folders whose content is dropped and which stay. */
const EMPTIED_DIRS = [
  'boot/grub',
  'run',
  'tmp',
  'var/cache/apt',
  'var/cache/debconf',
  'var/cache/man',
  'var/lib/apt/lists',
  'var/log',
  'var/tmp',
] as const;

export interface CustomisedRoot {
  readonly root: string;
  readonly profile: Profile;
  /** Folder that becomes /opt/actions-runner. */
  readonly runnerDir: string;
  /** The Node that steps and the stand-in find as /usr/local/bin/node. */
  readonly nodeBinary: string;
  readonly signal: AbortSignal;
}

/** Changes the unpacked root in place. Needs root. On failure the root is unusable. */
export async function customiseGuest(guest: CustomisedRoot): Promise<void> {
  const { root, profile, signal } = guest;
  await cp(GUEST_FILES, root, { recursive: true });
  await own(join(root, 'etc/sudoers.d/runner'), 0, 0o440);
  await addUsers(root, profile, signal);
  await buildPrograms(root, signal);
  await installNode(root, guest.nodeBinary);
  await installRunner(root, guest.runnerDir, signal);
  await chooseUnits(root, profile, signal);
  await buildInitrd(root, signal);
  await forgetBuild(root);
  await freezeTimes(root);
}

async function inGuest(root: string, command: readonly string[], signal: AbortSignal) {
  return await execa('chroot', [root, ...command], {
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      LC_ALL: 'C.UTF-8',
      DEBIAN_FRONTEND: 'noninteractive',
      SOURCE_DATE_EPOCH: String(SOURCE_DATE_EPOCH),
    },
    extendEnv: false,
    cancelSignal: signal,
    timeout: STEP_TIMEOUT_MS,
  });
}

async function addUsers(root: string, profile: Profile, signal: AbortSignal): Promise<void> {
  const groups = profile === 'full' ? ['--groups', 'docker'] : [];
  const id = String(RUNNER_UID);
  await inGuest(root, ['groupadd', '--gid', id, 'runner'], signal);
  await inGuest(
    root,
    [
      'useradd',
      '--uid',
      id,
      '--gid',
      id,
      '--create-home',
      '--shell',
      '/bin/bash',
      ...groups,
      'runner',
    ],
    signal,
  );
  // The day of the build stands in the shadow file otherwise.
  await inGuest(
    root,
    ['sed', '-i', '-E', 's/^([^:]*:[^:]*):[0-9]+:/\\1:20000:/', '/etc/shadow'],
    signal,
  );
  await Promise.all(
    ['passwd-', 'group-', 'shadow-', 'gshadow-', 'subuid-', 'subgid-', '.pwd.lock'].map((name) =>
      rm(join(root, 'etc', name), { force: true }),
    ),
  );
}

async function buildPrograms(root: string, signal: AbortSignal): Promise<void> {
  const sources = join(root, 'usr/src/architect');
  await cp(GUEST_SOURCES, sources, { recursive: true });
  await inGuest(root, ['make', '-s', '-C', '/usr/src/architect'], signal);
  await rm(sources, { recursive: true });
  for (const hook of ['job-started.sh', 'job-completed.sh'])
    await chmod(join(root, 'opt/architect', hook), 0o755);
}

async function installNode(root: string, nodeBinary: string): Promise<void> {
  const path = join(root, 'usr/local/bin/node');
  await cp(nodeBinary, path, { dereference: true });
  await own(path, 0, 0o755);
}

async function installRunner(root: string, from: string, signal: AbortSignal): Promise<void> {
  await cp(from, join(root, 'opt/actions-runner'), { recursive: true, verbatimSymlinks: true });
  await inGuest(root, ['chown', '-R', 'runner:runner', '/opt/actions-runner'], signal);
}

async function chooseUnits(root: string, profile: Profile, signal: AbortSignal): Promise<void> {
  await inGuest(root, ['systemctl', '--quiet', 'enable', 'architect-runner.service'], signal);
  if (profile === 'full') {
    // Started by its first use: an idle dockerd would be in the memory of every clone.
    await inGuest(
      root,
      ['systemctl', '--quiet', 'disable', 'docker.service', 'containerd.service'],
      signal,
    );
    await inGuest(root, ['systemctl', '--quiet', 'enable', 'docker.socket'], signal);
  }
  await inGuest(root, ['systemctl', '--quiet', 'set-default', 'multi-user.target'], signal);
  for (const unit of MASKED_UNITS) {
    const path = join(root, 'etc/systemd/system', unit);
    await rm(path, { force: true });
    await symlink('/dev/null', path);
  }
  const generators = join(root, 'etc/systemd/system-generators');
  await mkdir(generators, { recursive: true });
  await symlink('/dev/null', join(generators, 'systemd-ssh-generator'));
}

async function buildInitrd(root: string, signal: AbortSignal): Promise<void> {
  const version = await guestKernelVersion(root);
  await inGuest(root, ['depmod', version], signal);
  await inGuest(root, ['mkinitramfs', '-o', `/boot/initrd.img-${version}`, version], signal);
}

/** The one kernel in the root; throws when mmdebstrap installed none or two. */
export async function guestKernelVersion(root: string): Promise<string> {
  const versions = await readdir(join(root, 'lib/modules'));
  const [version] = versions;
  if (version === undefined || versions.length !== 1) {
    throw new Error(`the guest has ${versions.length} kernels, one is right`);
  }
  return version;
}

async function forgetBuild(root: string): Promise<void> {
  for (const path of REMOVED_PATHS) await rm(join(root, path), { recursive: true, force: true });
  const keys = (await readdir(join(root, 'etc/ssh'))).filter((name) =>
    name.startsWith('ssh_host_'),
  );
  for (const name of keys) await rm(join(root, 'etc/ssh', name));
  for (const dir of EMPTIED_DIRS) {
    const names = await readdir(join(root, dir)).catch(() => []);
    for (const name of names) await rm(join(root, dir, name), { recursive: true, force: true });
  }
  await writeFile(join(root, 'etc/machine-id'), '');
  await writeFile(join(root, 'etc/resolv.conf'), '');
  await mkdir(join(root, 'var/lib/dbus'), { recursive: true });
  await symlink('/etc/machine-id', join(root, 'var/lib/dbus/machine-id'));
}

/** No file of the image may be younger than the epoch. */
async function freezeTimes(root: string): Promise<void> {
  const paths = await readdir(root, { recursive: true, withFileTypes: true });
  for (const entry of paths) {
    await lutimes(join(entry.parentPath, entry.name), SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH);
  }
  await lutimes(root, SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH);
}

async function own(path: string, uid: number, mode: number): Promise<void> {
  await chown(path, uid, uid);
  await chmod(path, mode);
}
