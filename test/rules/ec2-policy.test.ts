/** README's policy for the control plane allows what the EC2 provider calls, and nothing else. */
import { readdir, readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { z } from 'zod';

const PROVIDER = new URL('../../app/providers/ec2/', import.meta.url);
const README = new URL('../../README.md', import.meta.url);
const ACTION = /sdk\.(?:paginate)?((?:Create|Delete|Describe|Get|Terminate)\w+?)(?:Command)?\(/g;
/** CreateFleet does these in the caller's name. */
const WITH_CREATE_FLEET = ['ec2:RunInstances', 'ec2:CreateTags', 'iam:PassRole'];

const Policy = z.object({
  Statement: z.array(z.object({ Action: z.union([z.string(), z.array(z.string())]) })),
});

async function calledActions(): Promise<readonly string[]> {
  const names = (await readdir(PROVIDER)).filter((name) => /(?<!\.test)\.ts$/.test(name));
  const texts = await Promise.all(names.map((name) => readFile(new URL(name, PROVIDER), 'utf8')));
  const sources = texts.filter((text) => !text.includes('client-sqs'));
  const ec2 = sources.flatMap((text) =>
    [...text.matchAll(ACTION)].map(([, name]) => `ec2:${name}`),
  );
  const pricing = sources.flatMap((text) => {
    return [...text.matchAll(/const ACTION = '(\w+)'/g)].map(([, name]) => `pricing:${name}`);
  });
  return [...new Set([...ec2, ...pricing, ...WITH_CREATE_FLEET])].sort();
}

it('the policy in README names the calls that are made', async () => {
  const blocks = (await readFile(README, 'utf8')).matchAll(
    /^```json\n(\{\n {2}"Version".*?)^```/gms,
  );
  const [policy] = [...blocks].map(([, text = '']) => Policy.parse(JSON.parse(text)));
  const allowed = policy?.Statement.flatMap(({ Action }) => Action) ?? [];
  const called = await calledActions();
  expect(called).toContain('ec2:CreateFleet');
  expect(allowed.sort()).toEqual(called);
});
