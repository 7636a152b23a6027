/** What each image profile is made of. Everything here is part of the image's identity. */
import type { ImageArtifact } from '../host-agent/protocol/artifact.ts';

export type Profile = ImageArtifact['profile'];

export const PROFILES: readonly Profile[] = ['small', 'full'];

/** One Debian for the guest, whatever the host runs: its kernel has VMGENID (≥ 6.12). */
export const GUEST_SUITE = 'trixie';

/**
 * Every time stamp in an image. A constant, so that the day of the build leaves no trace; any
 * value is right as long as it is not in the guest's future.
 */
export const SOURCE_DATE_EPOCH = 1_767_225_600;

/**
 * What the kernel is told besides `root=`.
 *   net.ifnames=0     the one interface is eth0, whatever PCI slot it sits in
 *   noinit_itable     a clone must not spend its first seconds zeroing inode tables in its overlay
 *   panic=1           a dead guest ends its QEMU (-no-reboot) instead of spinning
 *   memmap_on_memory  the page table of hot-plugged memory lives in that memory, not in the small
 *                     memory of the template; it comes online by itself (CONFIG_MHP_DEFAULT_ONLINE)
 */
export const KERNEL_ARGUMENTS = [
  'rw',
  'rootfstype=ext4',
  'rootflags=noatime,noinit_itable',
  'fsck.mode=skip',
  'net.ifnames=0',
  'console=ttyS0',
  'quiet',
  'loglevel=4',
  'systemd.show_status=error',
  'panic=1',
  'memory_hotplug.memmap_on_memory=force',
].join(' ');

const SMALL_PACKAGES = [
  'linux-image-cloud-amd64',
  'initramfs-tools',
  'zstd',
  'systemd-sysv',
  'dbus',
  'udev',
  'kmod',
  'qemu-guest-agent',
  'iproute2',
  'iputils-ping',
  'procps',
  'sudo',
  'openssh-server',
  'ca-certificates',
  'curl',
  'e2fsprogs',
  'gcc',
  'libc6-dev',
  'make',
  'perl-base',
  'python3-minimal',
] as const;

const FULL_PACKAGES = [
  ...SMALL_PACKAGES,
  'build-essential',
  'autoconf',
  'automake',
  'bison',
  'bzip2',
  'cmake',
  'dnsutils',
  'docker-cli',
  'docker.io',
  'docker-buildx',
  'docker-compose',
  'file',
  'flex',
  'git',
  'git-lfs',
  'gnupg',
  'iptables',
  'jq',
  'less',
  'libicu76',
  'libssl-dev',
  'libtool',
  'locales',
  'lsb-release',
  'netcat-openbsd',
  'ninja-build',
  'openssh-client',
  'patch',
  'pkg-config',
  'python-is-python3',
  'python3',
  'python3-dev',
  'python3-pip',
  'python3-venv',
  'rsync',
  'shellcheck',
  'sqlite3',
  'tar',
  'time',
  'tree',
  'tzdata',
  'unzip',
  'wget',
  'xz-utils',
  'zip',
  'zlib1g-dev',
] as const;

export const PACKAGES: Readonly<Record<Profile, readonly string[]>> = {
  small: SMALL_PACKAGES,
  full: FULL_PACKAGES,
};
