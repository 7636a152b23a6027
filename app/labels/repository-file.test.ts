import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { stringify } from 'yaml';
import { policyOf } from '../../test/fixtures/policy.ts';
import { jobFacts } from '../../test/fixtures/records.ts';
import { classifyJob } from './classify-job.ts';
import { shareOf } from './job-share.ts';
import { DEFAULT_POLICY, type Policy } from './policy.ts';
import { policyOfRepository } from './repository-file.ts';

const REPOSITORY = 'acme/shop';
const read = (text: string, policy: Policy = DEFAULT_POLICY) =>
  policyOfRepository(policy, REPOSITORY, { kind: 'text', text });
const classify = (label: string, text: string, policy: Policy = DEFAULT_POLICY) =>
  classifyJob(
    { labels: [label], repository: REPOSITORY, ...read(text, policy) },
    read(text, policy).policy,
  );

describe('a repository’s own classes', () => {
  it('are served within the limits', () => {
    const text = 'classes:\n  nightly: { cpu: 6, ram: 24 }';
    expect(classify('architect/class=nightly', text)).toMatchObject({
      kind: 'served',
      class: { vcpus: 6, memoryMib: 24 * 1024 },
    });
    expect(classify('architect/class=small', text)).toMatchObject({ kind: 'served' });
  });

  it.each([
    [
      'above a limit',
      'classes: { huge: { cpu: 9, ram: 4 } }',
      'huge',
      /cpu=9 is above the allowed 8/,
    ],
    [
      'the operator’s name',
      'classes:\n  small: { cpu: 8, ram: 32 }',
      'other',
      /line 2, column 3: classes\.small is the operator's/,
    ],
    [
      'misspelt',
      'classes:\n  big: { cpus: 2, ram: 4 }',
      'big',
      /line 2, column 10: classes\.big\.cpus is no setting; did you mean cpu\?/,
    ],
    [
      'of the wrong kind',
      'classes:\n  big: { cpu: many, ram: 4 }',
      'big',
      /line 2, column 15: .*wants a number, not the text "many"/,
    ],
    [
      'no YAML',
      'classes: [',
      'big',
      /architect\.yml cannot be used: line 1, column \d+: It is not YAML/,
    ],
    [
      'a policy',
      'limits: { cpu: 99 }',
      'big',
      /line 1, column 1: limits is no setting; known here: classes, concurrency/,
    ],
  ])('are refused when %s, with the place', (_name, text, name, why) => {
    expect(classify(`architect/class=${name}`, text)).toMatchObject({
      kind: 'refused',
      why: expect.stringMatching(why),
    });
    expect(classify('architect/class=small', text)).toMatchObject({ class: { vcpus: 1 } });
  });

  it('are not allowed where the operator lists the classes of a repository', () => {
    const policy = policyOf('repositories: [{ match: acme/*, classes: [small] }]');
    const text = 'classes: { mine: { cpu: 1, ram: 1 } }';
    expect(classify('architect/class=mine', text, policy)).toMatchObject({ kind: 'refused' });
  });

  it('are none where the file is too long or not there', () => {
    expect(
      policyOfRepository(DEFAULT_POLICY, REPOSITORY, { kind: 'absent' }).fault,
    ).toBeUndefined();
    const long = policyOfRepository(DEFAULT_POLICY, REPOSITORY, { kind: 'too-long' });
    expect(long).toEqual({
      policy: DEFAULT_POLICY,
      fault: expect.stringMatching(/longer than 64 KiB/),
    });
  });
});

test('its caps come after the operator’s, for this repository alone', () => {
  const policy = policyOf("concurrency: [{ match: '*', maxVms: 5 }]");
  const text =
    'classes: { mine: { cpu: 1, ram: 1 } }\nconcurrency: [{ maxVms: 2 }, { class: mine, maxVms: 1 }]';
  const capsOf = (labels: string[], repo = 'shop') => {
    const origin = { ...jobFacts().origin, owner: 'acme', repo };
    return shareOf({ origin, labels }, read(text, policy).policy).caps.map(({ maxVms }) => maxVms);
  };
  expect(capsOf(['architect'])).toEqual([5, 2]);
  expect(capsOf(['architect/class=mine'])).toEqual([5, 2, 1]);
  expect(capsOf(['architect'], 'other')).toEqual([5]);
});

test('no file makes anything larger, or lifts a cap, whatever is in it', () => {
  const policy = policyOf(
    "limits: { cpu: 4, ram: 8, disk: 30 }\nconcurrency: [{ match: '*', maxVms: 5 }]",
  );
  const size = fc.record({
    cpu: fc.integer({ min: -1, max: 300 }),
    ram: fc.integer({ min: 0, max: 5000 }),
    disk: fc.integer({ min: 1, max: 500 }),
  });
  const name = fc.constantFrom('small', 'large', 'mine', 'constructor', '__proto__');
  const file = fc.record(
    {
      classes: fc.dictionary(name, size),
      concurrency: fc.array(fc.record({ maxVms: fc.integer({ min: -1, max: 9 }) })),
      limits: fc.constant({ cpu: 99 }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(file, name, fc.boolean(), (content, asked, mangled) => {
      const text = stringify(content).slice(mangled ? 1 : 0);
      const own = read(text, policy);
      const answer = classifyJob(
        { labels: [`architect/class=${asked}`], repository: REPOSITORY },
        own.policy,
      );
      if (answer.kind === 'served') {
        expect(answer.class.vcpus).toBeLessThanOrEqual(4);
        expect(answer.class.memoryMib).toBeLessThanOrEqual(8 * 1024);
        expect(answer.class.diskGib).toBeLessThanOrEqual(30);
      }
      expect(own.policy.concurrency.slice(0, 1)).toEqual(policy.concurrency);
      expect({ ...own.policy, classes: {}, concurrency: [] }).toEqual({
        ...policy,
        classes: {},
        concurrency: [],
      });
      for (const [known, its] of Object.entries(policy.classes))
        expect(own.policy.classes[known]).toEqual(its);
    }),
    { numRuns: 2_000 },
  );
});
