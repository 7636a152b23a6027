import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { composeUserData, MAX_USER_DATA_BYTES } from './user-data.ts';

const TOKEN = `architect_${'a'.repeat(300)}`;
const joining = { fleet: 'main', enrolmentToken: TOKEN, agentEnvironment: {} };

describe('composeUserData', () => {
  it.each([
    ['of a prepared AMI', {}],
    [
      'of plain Debian',
      { bootstrap: { repository: 'https://git.example/architect', ref: 'a'.repeat(40) } },
    ],
    [
      'with quotes in a setting',
      { agentEnvironment: { ARCHITECT_GUEST_DNS: "1.1.1.1'; rm -rf /" } },
    ],
  ])('%s is a shell script', (_, over) => {
    const script = composeUserData({ ...joining, ...over });
    const folder = mkdtempSync(join(tmpdir(), 'architect-userdata-'));
    try {
      const path = join(folder, 'user-data');
      writeFileSync(path, script);
      execFileSync('sh', ['-n', path]);
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect(Buffer.byteLength(script)).toBeLessThan(MAX_USER_DATA_BYTES);
  });

  it('quotes settings so that they mean nothing to the shell', () => {
    const agentEnvironment = { ARCHITECT_GUEST_DNS: "x'; touch /tmp/no; '" };
    const script = composeUserData({ ...joining, agentEnvironment });
    const line = script.split('\n').find((one) => one.includes('GUEST_DNS')) ?? '';
    const shown = execFileSync('sh', [
      '-c',
      `${line}; printf %s "$ARCHITECT_GUEST_DNS"`,
    ]).toString();
    expect(shown).toBe("x'; touch /tmp/no; '");
  });

  it('hands the token over by standard input, in no argument', () => {
    const lines = composeUserData(joining).split('\n');
    expect(lines.filter((line) => line.includes(TOKEN))).toEqual([TOKEN]);
    expect(lines.at(lines.indexOf(TOKEN) - 1)).toMatch(/host join - <<'TOKEN'$/);
  });
});
