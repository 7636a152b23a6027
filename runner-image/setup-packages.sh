#!/bin/sh
# Installs the Debian packages that are missing. Run as root by with-setup.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
backports=/etc/apt/sources.list.d/architect-backports.sources
# Older ones lack the migration capability switchover-ack.
qemu_wanted=1:8.2

# qemu…           runs the VMs, makes their disks
# mmdebstrap …    builds the guest (trixie's signing keys come with debian-archive-keyring; without
#                 mount it builds another guest, with a mere warning; without gpg it warns as well)
# redis-server    working state; started privately by Architect
# python3-venv    holds moto, the S3 endpoint of the tests (with-moto.sh)
# clang …         compile the switch's programs (bpf/); who has their objects needs none of these
# nftables …      the VMs' networks, namespaces and limits
# wireguard…      under the tunnel to gateways, where that is asked for; wireguard-go: where the
#                 kernel has none, and the tests
wanted="qemu-system-x86 qemu-utils mmdebstrap debian-archive-keyring gpg e2fsprogs zstd xz-utils
redis-server python3-venv clang libbpf-dev linux-libc-dev make nftables iproute2 util-linux mount
wireguard-tools wireguard-go procps kmod ca-certificates"

say() { printf 'setup: %s\n' "$*" >&2; }

installed_version() {
	dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null |
		sed -n 's/^installed //p'
}

missing_packages() {
	present=" $(dpkg-query --show --showformat='${db:Status-Status}:${Package} ' $wanted 2>/dev/null || true)"
	for package in $wanted; do
		case $present in
		*" installed:$package "*) ;;
		*) printf '%s ' "$package" ;;
		esac
	done
}

qemu_is_old() {
	version=$(installed_version qemu-system-x86)
	[ -n "$version" ] && dpkg --compare-versions "$version" lt "$qemu_wanted"
}

# Debian 12's own QEMU is 7.2. The mirror is the one that this machine's apt uses already.
ensure_backports() {
	[ "$codename" = bookworm ] || return 0
	if ! [ -e "$backports" ]; then
		say "adding bookworm-backports to apt, for QEMU 8.2 or newer ($backports)"
		node "$here/backports-source.ts" "$codename" >"$backports.new"
		mv "$backports.new" "$backports"
	fi
}

# The system's own redis-server is not wanted: a masked unit is not started by its installation,
# and where port 6379 is taken that start would fail the installation.
without_redis_service() {
	[ -d /run/systemd/system ] || {
		"$@"
		return
	}
	systemctl --quiet mask --runtime redis-server.service
	status=0
	"$@" || status=$?
	systemctl --quiet unmask --runtime redis-server.service
	systemctl --quiet disable redis-server.service 2>/dev/null || true
	return "$status"
}

apt_install() {
	target=
	[ "$codename" != bookworm ] || target=--target-release=bookworm-backports
	plain=
	qemu=
	for package in $missing; do
		case $package in
		qemu-*) qemu="$qemu $package" ;;
		*) plain="$plain $package" ;;
		esac
	done
	export DEBIAN_FRONTEND=noninteractive
	[ -z "$plain" ] || apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $plain
	[ -z "$qemu" ] || apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends $target $qemu
}

codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
missing=$(missing_packages)
if qemu_is_old; then
	missing="$missing qemu-system-x86 qemu-utils"
fi
[ -n "$missing" ] || exit 0

say "installing Debian packages, which needs root: $missing"
ensure_backports
apt-get update >&2
case $missing in
*redis-server*) without_redis_service apt_install >&2 ;;
*) apt_install >&2 ;;
esac
