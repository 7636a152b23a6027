/** The official runner that `full` images carry. To update: the release page names both values. */
export interface RunnerRelease {
  readonly version: string;
  readonly url: string;
  readonly sha256: string;
}

const VERSION = '2.337.0';

export const RUNNER_RELEASE: RunnerRelease = {
  version: VERSION,
  url: `https://github.com/actions/runner/releases/download/v${VERSION}/actions-runner-linux-x64-${VERSION}.tar.gz`,
  sha256: '70920811a4f8ad4328818682bca5c6469c1c942fab52448868071d0063816613',
};
