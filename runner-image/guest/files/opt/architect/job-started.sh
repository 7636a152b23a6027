#!/bin/sh
# ACTIONS_RUNNER_HOOK_JOB_STARTED: run by the runner before the job's first step.
exec /opt/architect/scrub-jitconfig
