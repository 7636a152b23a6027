/** The workflow that `architect doctor --smoke` runs, and how it gets into a repository. Pure. */

export const SMOKE_FILE = 'architect-smoke.yml';
export const SMOKE_PATH = `.github/workflows/${SMOKE_FILE}`;

/** Its key keeps any other job from taking the runner that is started for it. */
export const SMOKE_WORKFLOW = `# Run by: architect doctor --smoke OWNER/REPO
name: architect smoke
on: workflow_dispatch
permissions: {}
jobs:
  smoke:
    runs-on: architect/key=smoke-\${{ github.run_id }}
    timeout-minutes: 10
    steps:
      - run: uname -srm && nproc && df -h /
`;

export interface SmokeRepository {
  readonly pageUrl: string;
  readonly defaultBranch: string;
}

/** GitHub's page for a new file, filled in; one press of its button adds it. */
export function addWorkflowUrl({ pageUrl, defaultBranch }: SmokeRepository): string {
  const url = new URL(`${pageUrl}/new/${encodeURIComponent(defaultBranch)}`);
  url.searchParams.set('filename', SMOKE_PATH);
  url.searchParams.set('value', SMOKE_WORKFLOW);
  return url.href;
}

/** The page with the button that runs it. */
export function runWorkflowUrl({ pageUrl }: SmokeRepository): string {
  return `${pageUrl}/actions/workflows/${SMOKE_FILE}`;
}
