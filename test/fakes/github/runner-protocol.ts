/**
 * What the stand-in runner and the simulated GitHub say to each other; not GitHub's own protocol,
 * but with its shape. All under /_runner, with `Authorization: Bearer <token of the JIT config>`.
 *
 *   POST   /_runner/sessions {agentId, sessionName}     201 {sessionId, lockRenewMs}; the same name
 *                                                       again: the same session; 409 another is open
 *   GET    /_runner/sessions/S/message?lastMessageId=N  200 message after N, 202 none within the long
 *                                                       poll; 404 the runner is gone. A message is
 *                                                       repeated until a later poll names it.
 *   POST   /_runner/jobs/J/acquire                      200 the job; 409 not offered to this runner
 *   POST   /_runner/jobs/J/renew                        200 {lockedForMs}; 404 the job is lost
 *   PUT    /_runner/jobs/J/steps/N StepReport           204
 *   PUT    /_runner/jobs/J/steps/N/summary {summary}    204; markdown, 1 MiB at most
 *   POST   /_runner/jobs/J/log?offset=B                 chunked bytes from B; 200 {receivedBytes}
 *   GET    /_runner/jobs/J/log                          200 {receivedBytes}
 *   POST   /_runner/jobs/J/complete {conclusion}        204, also when repeated; the runner is gone
 *   DELETE /_runner/sessions/S                          204
 */
import { z } from 'zod';

const MAX_NAME = 500;

export const Conclusion = z.enum(['success', 'failure', 'cancelled', 'skipped']);
export type Conclusion = z.infer<typeof Conclusion>;

export const StepCondition = z.enum(['success', 'failure', 'always']);
export type StepCondition = z.infer<typeof StepCondition>;

export const OpenSession = z.strictObject({
  agentId: z.int(),
  sessionName: z.string().min(1).max(MAX_NAME),
});

export const RunnerMessage = z.strictObject({
  messageId: z.int().min(1),
  type: z.enum(['job', 'cancel']),
  jobId: z.int(),
});
export type RunnerMessage = Readonly<z.infer<typeof RunnerMessage>>;

export const StepReport = z.strictObject({
  name: z.string().max(MAX_NAME),
  status: z.enum(['in_progress', 'completed']),
  conclusion: Conclusion.nullable(),
  startedAtMs: z.number(),
  completedAtMs: z.number().nullable(),
});
export type StepReport = Readonly<z.infer<typeof StepReport>>;

/** In UTF-8; GitHub's own limit for a step. */
export const MAX_SUMMARY_BYTES = 1024 * 1024;

export const StepSummary = z.strictObject({
  summary: z.string().refine((text) => Buffer.byteLength(text) <= MAX_SUMMARY_BYTES),
});

export const CompleteJob = z.strictObject({ conclusion: Conclusion });

export interface JitConfigFields {
  readonly serverUrl: string;
  readonly agentId: number;
  readonly agentName: string;
  readonly workFolder: string;
  readonly token: string;
}

/** In the official shape: base64 of {file name: base64 of the file}. */
export function encodeJitConfig(fields: JitConfigFields): string {
  const { token, ...settings } = fields;
  return base64({
    '.runner': base64({
      ...settings,
      poolId: 1,
      poolName: 'Default',
      disableUpdate: 'true',
      ephemeral: 'true',
      useV2Flow: 'true',
    }),
    '.credentials': base64({ scheme: 'OAuth', data: { token } }),
  });
}

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64');
}
