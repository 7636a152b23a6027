import { expect, test } from 'vitest';
import { judgeEnterprise, type SeenEnterprise } from './judge-enterprise.ts';

const ENTERPRISE = { slug: 'acme-inc', organizations: ['Acme', 'shop'], runnerGroupId: 3 };
const SOUND: SeenEnterprise = {
  ...{
    scopes: ['repo', 'manage_runners:enterprise'],
    group: 'Spot',
    chosen: ['acme', 'SHOP', 'x'],
  },
};

test.each<[string, Partial<SeenEnterprise>, readonly string[]]>([
  ['a sound one', {}, ['ok', 'ok']],
  ['a scope that contains what is needed', { scopes: ['admin:enterprise'] }, ['ok', 'ok']],
  ['a token that GitHub says nothing of', { scopes: undefined }, ['ok', 'ok']],
  ['a group for all', { chosen: undefined }, ['ok', 'ok']],
  ['a token that may only read', { scopes: ['read:enterprise'] }, ['failed', 'ok']],
  ['no such group', { group: undefined, chosen: undefined }, ['ok', 'failed']],
  ['a group that is for another', { chosen: ['acme'] }, ['ok', 'failed']],
])('%s', (_, over, states) => {
  const findings = judgeEnterprise(ENTERPRISE, { ...SOUND, ...over });
  expect(findings.map(({ state }) => state)).toEqual(states);
});

test('who may not use the group is named', () => {
  const [, group] = judgeEnterprise(ENTERPRISE, { ...SOUND, chosen: ['acme'] });
  expect(group?.what).toMatch(/^shop may not use the group "Spot"/);
});
