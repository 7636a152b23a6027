import { expect, test } from 'vitest';
import { chooseResolvers } from './resolvers.ts';

test.each([
  [['10.0.0.53'], 'nameserver 9.9.9.9\n', ['10.0.0.53']],
  [[], 'search example.org\nnameserver 9.9.9.9\nnameserver 10.0.0.53\n', ['9.9.9.9']],
  [[], 'nameserver 127.0.0.53\nnameserver ::1\n', []],
  [
    [],
    'nameserver 1.0.0.1\nnameserver 1.1.1.1\nnameserver 8.8.8.8\nnameserver 9.9.9.9\n',
    ['1.0.0.1', '1.1.1.1', '8.8.8.8'],
  ],
])('configured %j beside the host’s %j gives %j', (configured, resolvConf, chosen) => {
  expect(chooseResolvers(configured, resolvConf)).toEqual(chosen);
});
