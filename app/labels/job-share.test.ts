import { expect, it } from 'vitest';
import { policyOf } from '../../test/fixtures/policy.ts';
import { jobFacts } from '../../test/fixtures/records.ts';
import { shareOf } from './job-share.ts';

const { origin } = jobFacts();
const place = (owner: string, repo: string, labels = ['architect']) => ({
  ...{ origin: { ...origin, owner, repo }, labels },
});

const POLICY = policyOf(`
concurrency:
  - { match: '*', each: organization, maxVms: 50 }
  - { match: 'acme/*', each: repository, maxVms: 20 }
  - { match: '*', class: large, maxVms: 3 }
priorities:
  - { match: acme/release, priority: 10 }
  - { match: 'acme/*', class: large, priority: -5 }
`);

it.each([
  [
    'an organisation together, each repository by itself',
    place('Acme', 'shop'),
    ['Acme', 'Acme/shop'],
    0,
  ],
  ['another organisation', place('other', 'shop'), ['other'], 0],
  [
    'a class over all',
    place('acme', 'shop', ['architect/class=large']),
    ['acme', 'acme/shop', '*, class large'],
    -5,
  ],
  [
    'the first priority that matches',
    place('acme', 'release', ['architect/class=large']),
    ['acme', 'acme/release', '*, class large'],
    10,
  ],
])('%s', (_, job, names, priority) => {
  const share = shareOf(job, POLICY);
  expect(share.caps.map(({ name }) => name)).toEqual(names);
  expect(share.priority).toBe(priority);
});

it('counts what GitHub holds for one name as one', () => {
  const keys = ['Acme', 'acme'].map((owner) => shareOf(place(owner, 'shop'), POLICY).caps);
  expect(keys[0]?.map(({ key }) => key)).toEqual(keys[1]?.map(({ key }) => key));
});

it('limits nothing by default', () => {
  expect(shareOf(place('acme', 'shop'), policyOf(''))).toMatchObject({ caps: [], priority: 0 });
});
