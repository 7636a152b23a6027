#!/bin/sh
# sh runner-image/with-setup.sh [--no-image] COMMAND ARGS…
#
# Sets this machine up, then runs COMMAND in its place. Every step asks first whether anything is
# missing, so with everything there this costs well under a second. With --no-image the last step is
# left out: a control plane says which image it lacks, and a host fetches its fleet's.
#
#   system       Debian 12 or 13, or Ubuntu 24.04
#   npm packages as whoever called this
#   root         from here on; by sudo when it is usable
#   packages     setup-packages.sh
#   programs     make -C bpf: the switch's, for the kernel
#   image        prepare.ts: the guest and its template, of profile ARCHITECT_IMAGE_PROFILE
set -eu

project=$(cd "$(dirname "$0")/.." && pwd)
here=$project/runner-image
lock=/run/lock/architect-setup.lock

say() { printf 'setup: %s\n' "$*" >&2; }
give_up() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

check_system() {
	[ -r /etc/os-release ] || give_up "This is not a Debian or Ubuntu system: /etc/os-release is missing."
	system=$(. /etc/os-release && printf '%s %s' "${ID:-unknown}" "${VERSION_ID:-}")
	case $system in
	'debian 12' | 'debian 13' | 'ubuntu 24.04') ;;
	*) give_up "Architect runs on Debian 12, Debian 13 and Ubuntu 24.04; this system is \"$system\"." ;;
	esac
	case $(uname -m) in
	x86_64) ;;
	*) give_up "Architect's guests are x86-64 only so far; this machine is $(uname -m)." ;;
	esac
}

# npm writes node_modules/.package-lock.json last, so its age tells a complete installation.
ensure_npm_packages() {
	installed=$project/node_modules/.package-lock.json
	if [ -e "$installed" ] && ! [ "$project/package-lock.json" -nt "$installed" ]; then
		return
	fi
	command -v npm >/dev/null || give_up "npm is missing. Install Node 18 or newer with npm, then run this again."
	say "installing npm packages (as $(id -un))"
	# Not `npm ci`: it refuses a lock file that leaves out the optional packages of other platforms.
	(cd "$project" && npm install --no-save --loglevel=error) >&2
	touch "$installed"
}

become_root() {
	[ "$(id -u)" -ne 0 ] || return 0
	command -v sudo >/dev/null ||
		give_up "Root is needed, to install packages and to run VMs and their networks; run this as root or install sudo."
	say "using sudo: packages, VMs and their networks need root"
	if ! [ -t 0 ] && ! sudo -n true 2>/dev/null; then
		give_up "Root is needed and sudo wants a password that nobody can type here; run this as root."
	fi
	exec sudo -E env PATH="$PATH" sh "$here/with-setup.sh" "$@"
}

# One set-up at a time; the command itself does not hold the lock.
take_lock() {
	mkdir -p "${lock%/*}"
	exec 9>"$lock"
	flock --nonblock 9 && return
	say "waiting for another set-up on this machine"
	flock 9
}

[ $# -gt 0 ] || give_up "Usage: sh runner-image/with-setup.sh [--no-image] COMMAND ARGS…"
check_system
ensure_npm_packages
PATH=$project/node_modules/.bin:$PATH
export PATH
become_root "$@"
take_lock
sh "$here/setup-packages.sh"
make --silent -C "$project/bpf" >&2 ||
	give_up "The switch's programs could not be compiled (bpf/); what make and clang say stands above."
if [ "$1" = --no-image ]; then
	shift
else
	node --disable-warning=ExperimentalWarning "$here/prepare.ts" --profile "${ARCHITECT_IMAGE_PROFILE:-small}" || exit 1
fi
exec 9>&-
exec "$@"
