import { pino } from 'pino';
import { expect, test } from 'vitest';
import { controlPlanePrefixes } from './control-plane-addresses.ts';

const logger = pino({ level: 'silent' });
const resolve = async () => [{ address: '203.0.113.9' }, { address: '2001:db8::9' }];

test.each([
  ['https://203.0.113.7:3443', ['203.0.113.7/32']],
  ['https://[2001:db8::1]:3443', ['2001:db8::1/128']],
  ['https://architect.example:3443/', ['203.0.113.9/32', '2001:db8::9/128']],
])('of %s guests are denied %j', async (url, prefixes) => {
  expect(await controlPlanePrefixes(url, logger, resolve)).toEqual(prefixes);
});

test('a name that cannot be resolved keeps no agent from its VMs', async () => {
  const fail = () => Promise.reject(new Error('ENOTFOUND'));
  expect(await controlPlanePrefixes('https://architect.example', logger, fail)).toEqual([]);
});
