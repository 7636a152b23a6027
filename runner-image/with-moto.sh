#!/bin/sh
# sh runner-image/with-moto.sh COMMAND ARGS…
#
# Ensures moto (an S3 endpoint written by others, which the tests' store is held against) in a virtual
# environment of this clone, .architect/moto, then runs COMMAND in its place. Quick when it is there.
set -eu

version=5.2.1
project=$(cd "$(dirname "$0")/.." && pwd)
home=$project/.architect/moto
mark=$home/installed-$version

say() { printf 'setup: %s\n' "$*" >&2; }

install_moto() {
	say "installing moto $version for the tests of the S3 store, into $home"
	rm -rf "$home"
	python3 -m venv "$home" || return
	"$home/bin/pip" --quiet --disable-pip-version-check install "moto[s3,server]==$version" >&2 || return
	touch "$mark"
}

[ $# -gt 0 ] || {
	say "Usage: sh runner-image/with-moto.sh COMMAND ARGS…"
	exit 1
}
mkdir -p "$project/.architect"
exec 9>"$project/.architect/moto.lock"
flock 9
if ! [ -e "$mark" ]; then
	install_moto || {
		say "moto could not be installed. Check that this machine reaches its Python package index, then run this again."
		exit 1
	}
fi
exec 9>&-
exec "$@"
