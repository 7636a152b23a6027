import { expect, test } from 'vitest';
import { readConfig } from './config.ts';

test('every variable that is missing or wrong is named, with what it should hold', () => {
  const environment = { ARCHITECT_LISTEN: 'here', GITHUB_PRIVATE_KEY_FILE: '/key' };
  expect(() => readConfig(environment)).toThrow(
    /ARCHITECT_LISTEN: wants HOST:PORT\n {2}GITHUB_APP_ID: is not set\n {2}GITHUB_WEBHOOK_SECRET_FILE: is not set\n/,
  );
});
