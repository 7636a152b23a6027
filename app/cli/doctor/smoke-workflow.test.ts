import { expect, it } from 'vitest';
import { parseWorkflow, triggersOf } from '../../../test/fakes/github/workflow.ts';
import { parseLabel } from '../../labels/grammar.ts';
import { addWorkflowUrl, SMOKE_PATH, SMOKE_WORKFLOW } from './smoke-workflow.ts';

it('is one job on Architect, for nobody else, started by hand or by the API', () => {
  const { jobs } = parseWorkflow(SMOKE_WORKFLOW, { run_id: 4711 });
  expect(jobs.map(({ labels }) => labels)).toEqual([['architect/key=smoke-4711']]);
  expect(triggersOf(SMOKE_WORKFLOW)).toEqual(['workflow_dispatch']);
  expect(parseLabel('architect/key=smoke-4711')).toMatchObject({ kind: 'parsed' });
});

it('is added by a page of GitHub’s that is filled in', () => {
  const at = { pageUrl: 'https://github.com/acme/widgets', defaultBranch: 'release/2' };
  const url = new URL(addWorkflowUrl(at));
  expect(url.pathname).toBe('/acme/widgets/new/release%2F2');
  expect(url.searchParams.get('filename')).toBe(SMOKE_PATH);
  expect(url.searchParams.get('value')).toBe(SMOKE_WORKFLOW);
});
