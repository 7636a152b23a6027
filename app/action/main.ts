/**
 * The action of action.yml. GitHub's runner starts it with its own Node 24, from a bare checkout:
 * nothing is imported that has to be installed.
 */
import { openGuestClient } from './guest-client.ts';
import { runStep } from './run-step.ts';

process.exitCode = await runStep(process.env, openGuestClient());
