/** The action's end, which GitHub's runner starts when the job's steps are over (`post` of action.yml). */
import { openGuestClient } from './guest-client.ts';
import { endStep } from './run-step.ts';

await endStep(process.env, openGuestClient());
