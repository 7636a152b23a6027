import { expect, test } from 'vitest';
import { chooseCloud, type ProbeAnswers, TTL_HEADER } from './choose-cloud.ts';

const nobody: ProbeAnswers = { ec2: undefined, gcp: undefined, azure: undefined };
const notFound = { status: 404, headers: {}, body: 'Not Found' };
const ec2 = { status: 200, headers: { [TTL_HEADER]: '21600' }, body: 'AQAEAB' };
const gcp = { status: 200, headers: { 'metadata-flavor': 'Google' }, body: 'instance/\n' };
const compute = { azEnvironment: 'AzurePublicCloud', name: 'vm-one' };
const azure = { status: 200, headers: {}, body: JSON.stringify({ compute }) };

test.each([
  ['ec2', { ec2, gcp: notFound, azure: notFound }],
  ['gcp', { ec2: notFound, gcp, azure: undefined }],
  ['azure', { ec2: undefined, gcp: notFound, azure }],
])('knows %s by its own answer', (source, answers) => {
  expect(chooseCloud(answers)).toEqual({ kind: 'cloud', source });
});

test('a web server that answers everything with a page is no cloud', () => {
  const page = { status: 200, headers: { 'content-type': 'text/html' }, body: '<html></html>' };
  expect(chooseCloud({ ec2: page, gcp: page, azure: page })).toEqual({ kind: 'none' });
  expect(chooseCloud(nobody)).toEqual({ kind: 'none' });
});

test('does not choose between two', () => {
  expect(chooseCloud({ ...nobody, ec2, gcp })).toEqual({
    kind: 'ambiguous',
    sources: ['ec2', 'gcp'],
  });
});
