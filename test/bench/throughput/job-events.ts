/** `workflow_job` deliveries as GitHub sends them: its own example in full length, our values in it. */
import { createHmac } from 'node:crypto';
import webhookExamples from '@octokit/webhooks-examples' with { type: 'json' };
import { z } from 'zod';

const Examples = z.array(z.object({ name: z.string(), examples: z.array(z.looseObject({})) }));
const JobExample = z.looseObject({
  workflow_job: z.looseObject({}),
  organization: z.looseObject({}),
});

export interface JobStatus {
  readonly jobId: number;
  readonly status: 'queued' | 'in_progress' | 'completed';
  readonly runnerName: string | null;
  readonly atMs: number;
}

/** About 7 kB each, which is what a real one has. */
export function createEventWriter(): (job: JobStatus) => string {
  const example = readExample();
  return ({ jobId, status, runnerName, atMs }) =>
    JSON.stringify({
      ...example,
      action: status,
      installation: { id: 5, node_id: 'MDIz' },
      workflow_job: {
        ...example.workflow_job,
        id: jobId,
        run_id: jobId,
        labels: ['architect'],
        status,
        conclusion: status === 'completed' ? 'success' : null,
        runner_name: runnerName,
        created_at: new Date(atMs).toISOString(),
        started_at: new Date(atMs).toISOString(),
        completed_at: status === 'completed' ? new Date(atMs).toISOString() : null,
      },
    });
}

export function signBody(body: string, secret: string): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

function readExample(): z.output<typeof JobExample> {
  const event = Examples.parse(webhookExamples).find(({ name }) => name === 'workflow_job');
  for (const example of event?.examples ?? []) {
    const parsed = JobExample.safeParse(example);
    if (parsed.success) return parsed.data;
  }
  throw new Error('@octokit/webhooks-examples has no workflow_job of an organisation');
}
