#!/bin/bash
# Run once while the template is made: starts the stand-in before its configuration is known
# (waiting.ts). Ends when it waits; on failure nothing is left, and run.sh starts it cold.
here=${BASH_SOURCE[0]%/*}
folder=$here/.waiting
main=$here/waiting.js
[[ -f $main ]] || main=$here/waiting.ts
rm -rf "$folder"
mkdir -m 700 "$folder" && mkfifo -m 600 "$folder"/{ready,config,result} || exit 1
"${RUNNER_NODE:-/usr/local/bin/node}" --disable-warning=ExperimentalWarning --no-flush-bytecode \
	"$main" "$folder" </dev/null &
echo $! >"$folder/pid"
read -r -t 120 line <>"$folder/ready" && exit
kill $!
rm -rf "$folder"
exit 1
