/** The simulated GitHub's decisions, as tables. */
import { describe, expect, it } from 'vitest';
import { chooseRunners, holdsAll } from '../../fakes/github/choose.ts';
import { ExpressionError, substitute } from '../../fakes/github/expressions.ts';
import { JobLog } from '../../fakes/github/job-log.ts';
import { seededRandom, shuffled } from '../../fakes/github/random.ts';
import { parseWorkflow, WorkflowError } from '../../fakes/github/workflow.ts';

const expression = (text: string) => `\${{ ${text} }}`;
const GITHUB = { run_id: 7, repository: 'acme/widgets' };

describe('parseWorkflow', () => {
  it('works out matrix, expressions, environment and conditions', () => {
    const { jobs, name } = parseWorkflow(
      `
name: CI
on: push
env: { LEVEL: top, OVER: top }
jobs:
  build:
    runs-on: [ "architect/key=\${{ github.run_id }}-\${{ github.job }}-\${{ strategy.job-index }}", "\${{ matrix.os }}" ]
    strategy: { matrix: { os: [a, b], n: [1, 2] } }
    env: { OVER: job }
    timeout-minutes: 2
    steps:
      - run: "echo \${{ matrix.n }} \${{ env.OVER }} \${{ github.nothing }}"
        if: always()
`,
      GITHUB,
    );
    expect(name).toBe('CI');
    expect(jobs.map((job) => job.name)).toEqual([
      'build (a, 1)',
      'build (a, 2)',
      'build (b, 1)',
      'build (b, 2)',
    ]);
    expect(jobs[3]).toMatchObject({
      labels: ['architect/key=7-build-3', 'b'],
      env: { LEVEL: 'top', OVER: 'job' },
      timeoutMs: 120_000,
      steps: [{ number: 2, run: 'echo 2 job ', condition: 'always' }],
    });
  });

  it.each([
    ['a job without steps', 'on: push\njobs: {a: {runs-on: x}}'],
    [
      'a key that it does not know',
      'on: push\njobs: {a: {runs-on: x, needs: b, steps: [{run: y}]}}',
    ],
    ['an action', 'on: push\njobs: {a: {runs-on: x, steps: [{uses: actions/checkout@v5}]}}'],
    [
      'an unknown expression',
      `on: push\njobs: {a: {runs-on: "${expression('fromJSON(x)')}", steps: [{run: y}]}}`,
    ],
    ['no YAML', '{'],
  ])('refuses %s', (_, yaml) => {
    expect(() => parseWorkflow(yaml, GITHUB)).toThrow(WorkflowError);
  });

  it('refuses a matrix of more than 256 jobs', () => {
    const matrix = { a: Array.from({ length: 257 }, (_, index) => index) };
    const job = { 'runs-on': 'x', strategy: { matrix }, steps: [{ run: 'y' }] };
    expect(() => parseWorkflow(JSON.stringify({ on: 'push', jobs: { job } }), GITHUB)).toThrow(
      /256/,
    );
  });
});

describe('substitute', () => {
  it('leaves other text alone and refuses what it does not know', () => {
    expect(substitute('$x $(y) {{z}}', {})).toBe('$x $(y) {{z}}');
    expect(() => substitute(expression('secrets.KEY'), { github: GITHUB })).toThrow(
      ExpressionError,
    );
  });
});

describe('holdsAll', () => {
  it.each([
    [['Architect', 'X64'], ['architect'], true],
    [['architect'], ['architect', 'gpu'], false],
    [['architect'], [], true],
    [[], ['architect'], false],
  ])('%j for %j: %s', (held, wanted, expected) => {
    expect(holdsAll(held, wanted)).toBe(expected);
  });
});

describe('chooseRunners', () => {
  const job = (name: string) => ({ job: name, labels: ['l'] });
  const runner = (name: string) => ({ runner: name, labels: ['l'] });

  it('gives no runner two jobs, oldest job first', () => {
    const random = seededRandom(1);
    const pairs = chooseRunners([job('old'), job('new')], [runner('one')], {
      fits: () => true,
      random,
    });
    expect(pairs).toEqual([{ job: 'old', runner: 'one' }]);
  });

  it('may choose any runner that fits, and no other', () => {
    const chosen = new Set<string>();
    for (let seed = 0; seed < 50; seed += 1) {
      const fits = (_: string, name: string) => name !== 'foreign';
      const runners = [runner('a'), runner('b'), runner('foreign')];
      const [pair] = chooseRunners([job('one')], runners, { fits, random: seededRandom(seed) });
      chosen.add(pair?.runner ?? 'none');
    }
    expect(chosen).toEqual(new Set(['a', 'b']));
  });
});

describe('JobLog', () => {
  it('skips bytes that it has, and refuses a gap and what comes after the end', () => {
    const log = new JobLog();
    const write = (offset: number, text: string) => log.writeAt(offset, Buffer.from(text));
    expect(write(0, 'one ')).toBe(true);
    expect(write(2, 'e two ')).toBe(true);
    expect(write(0, 'one')).toBe(true);
    expect(write(11, 'four')).toBe(false);
    expect(log.text()).toBe('one two ');
    log.end();
    expect(write(8, 'three')).toBe(false);
  });
});

describe('seededRandom', () => {
  it('repeats itself, and shuffles without losing any', () => {
    const items = Array.from({ length: 50 }, (_, index) => index);
    expect(shuffled(items, seededRandom(5))).toEqual(shuffled(items, seededRandom(5)));
    expect(shuffled(items, seededRandom(5)).toSorted((a, b) => a - b)).toEqual(items);
    expect(shuffled(items, seededRandom(5))).not.toEqual(shuffled(items, seededRandom(6)));
  });
});
