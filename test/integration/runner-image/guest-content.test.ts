/** What must and must not be in the image, read from its file system without booting it. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  ACCEPT_JOB_PATH,
  RENEW_IDENTITY_PATH,
} from '../../../host-agent/protocol/guest-contract.ts';
import { findPreparedImage, inspectImage, type PreparedImage } from './prepared-image.ts';

let image: PreparedImage;
beforeAll(async () => {
  image = await findPreparedImage();
});

const names = async (dir: string) =>
  (await inspectImage(image, `ls -p ${dir}`))
    .split('\n')
    .map((line) => line.split('/')[5] ?? '')
    .filter((name) => name !== '' && !name.startsWith('.'));

describe('the image carries no identity', () => {
  it('has no SSH host key', async () => {
    const ssh = await names('/etc/ssh');
    expect(ssh).toContain('sshd_config');
    expect(ssh.filter((name) => name.startsWith('ssh_host_'))).toEqual([]);
  });

  it('has an empty machine id and no random seed', async () => {
    expect(await inspectImage(image, 'stat /etc/machine-id')).toMatch(/Size: 0\b/);
    expect(await names('/var/lib/systemd')).not.toContain('random-seed');
  });

  it('has no log', async () => {
    expect(await names('/var/log')).toEqual([]);
  });
});

describe('the image keeps its promises to the host-agent', () => {
  it.each([
    RENEW_IDENTITY_PATH,
    ACCEPT_JOB_PATH,
    '/opt/architect/run-runner',
    '/opt/architect/job-started.sh',
    '/opt/architect/job-completed.sh',
    '/usr/local/bin/node',
  ])('%s is there and executable', async (path) => {
    expect(await inspectImage(image, `stat ${path}`)).toMatch(/Mode:\s+0755/);
  });

  it('scrub-jitconfig is setuid root', async () => {
    const about = await inspectImage(image, 'stat /opt/architect/scrub-jitconfig');
    expect(about).toMatch(/Mode:\s+04755/);
    expect(about).toMatch(/User:\s+0\s/);
  });

  it('waits for its runner from boot on', async () => {
    expect(await names('/etc/systemd/system/multi-user.target.wants')).toContain(
      'architect-runner.service',
    );
  });
});
