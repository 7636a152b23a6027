import { expect, it } from 'vitest';
import { readReclaims } from './spot-advisor.ts';

/** As it is published, shortened. */
const ADVICE = {
  global_rate: '<10%',
  instance_types: { 'm8i.xlarge': { emr: true, cores: 4, ram_gb: 16.0 } },
  ranges: [
    { index: 0, label: '<5%', dots: 0, max: 5 },
    { index: 1, label: '5-10%', dots: 1, max: 11 },
    { index: 2, label: '10-15%', dots: 2, max: 16 },
    { index: 3, label: '15-20%', dots: 3, max: 22 },
    { index: 4, label: '>20%', dots: 4, max: 100 },
  ],
  spot_advisor: {
    'eu-central-1': {
      Linux: {
        'm8i.xlarge': { s: 61, r: 0 },
        'c8i.2xlarge': { s: 70, r: 1 },
        'm8i.2xlarge': { s: 40, r: 4 },
        'x.odd': { s: 1, r: 9 },
      },
      Windows: { 'm8i.xlarge': { s: 20, r: 3 } },
    },
    'us-east-1': { Linux: { 'r8i.large': { s: 61, r: 2 } } },
  },
};

it('takes the middle of each type’s band in the region, for Linux', () => {
  expect(Object.fromEntries(readReclaims(ADVICE, 'eu-central-1'))).toEqual({
    'm8i.xlarge': 0.025,
    'c8i.2xlarge': 0.08,
    'm8i.2xlarge': 0.33,
  });
});

it('knows nothing of a region that is not in it, and refuses another form', () => {
  expect(readReclaims(ADVICE, 'eu-north-1').size).toBe(0);
  expect(() => readReclaims({ ranges: [] }, 'eu-central-1')).toThrow();
});
