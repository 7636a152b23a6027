#!/bin/sh
# Runs the CLI on the Node that set-up installed, from wherever this is linked to; architect.ts is it.
project=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
node=$project/node_modules/node/bin/node
[ -x "$node" ] || {
	printf 'architect: Nothing is set up yet in %s. Do there: npm run setup\n' "$project" >&2
	exit 1
}
export PATH="$project/node_modules/.bin:$PATH"
exec "$node" --disable-warning=ExperimentalWarning "$project/app/cli/architect.ts" "$@"
