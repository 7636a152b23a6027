#!/bin/bash
# The official runner's command line: run.sh --jitconfig CONFIG, or ACTIONS_RUNNER_INPUT_JITCONFIG.
# Like there, the variable stays in this process's first environment block: the job-started hook
# has to scrub it. `runner.js` is there when the image was built without type annotations.
here=${BASH_SOURCE[0]%/*}
waiting=$here/.waiting
# Where prepare.sh was run, a stand-in waits for its configuration.
if [[ $# == 0 && -n $ACTIONS_RUNNER_INPUT_JITCONFIG && -p $waiting/config ]] &&
	read -r pid <"$waiting/pid" && [[ -e /proc/$pid/exe ]]; then
	trap 'kill -TERM "$pid"' INT TERM
	exec 3<"$waiting/result"
	printf '%s\n' "$ACTIONS_RUNNER_INPUT_JITCONFIG" >"$waiting/config"
	read -r code <&3
	exit "${code:-1}"
fi
main=$here/runner.js
[[ -f $main ]] || main=$here/runner.ts
exec "${RUNNER_NODE:-/usr/local/bin/node}" --disable-warning=ExperimentalWarning "$main" "$@"
