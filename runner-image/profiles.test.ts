import { describe, expect, it } from 'vitest';
import { KERNEL_ARGUMENTS, PACKAGES, PROFILES } from './profiles.ts';
import { RUNNER_RELEASE } from './runner-release.ts';

describe.each(PROFILES)('profile %s', (profile) => {
  it('names each package once', () => {
    expect(new Set(PACKAGES[profile]).size).toBe(PACKAGES[profile].length);
  });

  it('has what the guest’s own programs are built with and run by', () => {
    expect(PACKAGES[profile]).toEqual(
      expect.arrayContaining(['gcc', 'libc6-dev', 'make', 'qemu-guest-agent', 'openssh-server']),
    );
  });
});

it('full has everything that small has', () => {
  expect(PACKAGES.full).toEqual(expect.arrayContaining([...PACKAGES.small]));
});

it('leaves the root device to whoever starts the guest', () => {
  expect(KERNEL_ARGUMENTS).not.toMatch(/(^| )root=/);
});

it('pins the runner by version and hash', () => {
  expect(RUNNER_RELEASE.url).toContain(`v${RUNNER_RELEASE.version}/`);
  expect(RUNNER_RELEASE.sha256).toMatch(/^[0-9a-f]{64}$/);
});
