import { expect, test } from 'vitest';
import { jobRecord } from '../../test/fixtures/records.ts';
import { JobRecord } from './records.ts';
import { whyLost } from './why-lost.ts';

const job = jobRecord({ id: '4815' });
const command = `gh run rerun --job 4815 --repo ${job.origin.owner}/${job.origin.repo}`;

test('what happened comes first, and then how to run the job again', () => {
  expect(whyLost('Its host is gone.', job)).toMatch(
    /^Its host is gone\. To run it again, .*gh run/,
  );
});

test('however long the cause is, the command is whole and the record takes it', () => {
  const why = whyLost('x'.repeat(5_000), job);
  expect(why.endsWith(command)).toBe(true);
  expect(JobRecord.safeParse({ ...job, why }).success).toBe(true);
});
