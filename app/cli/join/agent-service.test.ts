import { expect, test } from 'vitest';
import { agentEnvironment, formatEnvironmentFile, formatUnit } from './agent-service.ts';
import { isSupported } from './machine.ts';

test("only the agent's own variables are passed on", () => {
  const operator = { ARCHITECT_FLEET: 'a', ARCHITECT_AGENT_NAME: 'b', SECRET: 's', PATH: '/bin' };
  const environment = agentEnvironment(operator);
  expect(Object.keys(environment).toSorted()).toEqual([
    'ARCHITECT_AGENT_DIR',
    'ARCHITECT_AGENT_NAME',
    'ARCHITECT_AGENT_TOKEN_FILE',
    'ARCHITECT_FLEET',
  ]);
});

test('values are quoted as systemd reads them', () => {
  expect(formatEnvironmentFile({ A: 'x "y" $z \\' })).toBe('A="x \\"y\\" \\$z \\\\"\n');
});

test('VMs outlive the service', () => {
  expect(formatUnit({ node: '/n', agent: '/a', role: 'host' })).toMatch(
    /ExecStart="\/n" "\/a".*KillMode=process/s,
  );
});

test.each([
  ['ID=debian\nVERSION_ID="12"\n', true],
  ['ID=debian\nVERSION_ID="11"\n', false],
  ['ID=ubuntu\nVERSION_ID="24.04"\n', true],
  ['ID_LIKE=debian\nVERSION_ID="12"\n', false],
  ['', false],
])('%j is supported: %s', (release, supported) => {
  expect(isSupported(release)).toBe(supported);
});
