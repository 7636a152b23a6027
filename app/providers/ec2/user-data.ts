/**
 * What a new instance does at its first boot (cloud-init runs it as root): it becomes a host of this
 * fleet. Pure. From a prepared AMI that takes seconds; from plain Debian it first fetches this project.
 *
 * The enrolment token in it is good for one host and for minutes; it is in no argv, and the launch
 * template that carries it is deleted as soon as the instance is there. Guests never reach the
 * metadata service.
 */
import type { Bootstrap } from './ec2-settings.ts';

/** EC2's limit, before base64. */
export const MAX_USER_DATA_BYTES = 16_384;
export const PROJECT_DIR = '/opt/architect';

export interface Joining {
  readonly fleet: string;
  readonly enrolmentToken: string;
  /** Unset: the AMI has the project in PROJECT_DIR. */
  readonly bootstrap?: Bootstrap | undefined;
  readonly agentEnvironment: Readonly<Record<string, string>>;
}

export function composeUserData(joining: Joining): string {
  const environment = {
    ...joining.agentEnvironment,
    ARCHITECT_FLEET: joining.fleet,
    ARCHITECT_NOTICES: 'ec2',
  };
  const settings = Object.entries(environment).map(
    ([name, value]) => `export ${name}=${quote(value)}`,
  );
  return `#!/bin/sh
set -eu
umask 077
metadata=http://169.254.169.254/latest
session=$(curl -fsS -m 10 --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$metadata/api/token")
ARCHITECT_AGENT_NAME=$(curl -fsS -m 10 --retry 5 -H "X-aws-ec2-metadata-token: $session" "$metadata/meta-data/instance-id")
export ARCHITECT_AGENT_NAME
${settings.join('\n')}
${fetchProject(joining.bootstrap)}cd ${PROJECT_DIR}
node_modules/node/bin/node app/cli/architect.ts host join - <<'TOKEN'
${joining.enrolmentToken}
TOKEN
`;
}

function fetchProject(bootstrap: Bootstrap | undefined): string {
  if (bootstrap === undefined) return '';
  return `if ! [ -d ${PROJECT_DIR} ]; then
	apt-get -q update
	apt-get -qy install git npm curl
	git clone -q ${quote(bootstrap.repository)} ${PROJECT_DIR}
	git -C ${PROJECT_DIR} checkout -q ${quote(bootstrap.ref)}
	cd ${PROJECT_DIR}
	sh runner-image/with-setup.sh --no-image true
fi
`;
}

/** For sh(1): nothing in single quotes means anything but a single quote. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
