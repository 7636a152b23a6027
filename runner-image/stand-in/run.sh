#!/bin/bash
# The official runner's command line: run.sh --jitconfig CONFIG, or ACTIONS_RUNNER_INPUT_JITCONFIG.
# Like there, the variable stays in this process's first environment block: the job-started hook
# has to scrub it. `runner.js` is there when the image was built without type annotations.
here=${BASH_SOURCE[0]%/*}
main=$here/runner.js
[[ -f $main ]] || main=$here/runner.ts
exec "${RUNNER_NODE:-/usr/local/bin/node}" --disable-warning=ExperimentalWarning "$main" "$@"
