import { describe, expect, it } from 'vitest';
import { vmRecord } from '../../../test/fixtures/records.ts';
import { judgeRunners, type ListedRunner, type RunnerLook } from './judge-runners.ts';

const NOW_MS = 1_000_000;
const runner = (over: Partial<ListedRunner> = {}): ListedRunner => ({
  ...{ id: 5, name: 'architect-vm-1', online: true, busy: false },
  ...over,
});
const vm = (over: Parameters<typeof vmRecord>[0] = {}) =>
  vmRecord({ phase: 'assigned', forJob: '7', runnerId: 5, phaseSinceMs: NOW_MS - 60_000, ...over });

function judge(over: Partial<RunnerLook> = {}) {
  const look = { listed: [runner()], complete: true, askedAtMs: NOW_MS, vms: [vm()], ...over };
  const words = judgeRunners({ liveVmIds: new Set(look.vms.map(({ id }) => id)), ...look });
  return {
    taken: words.taken.map(({ id }) => id),
    gone: words.gone.map(({ id }) => id),
    ghosts: words.ghosts.map(({ runnerId }) => runnerId),
  };
}
const NOTHING = { taken: [], gone: [], ghosts: [] };

describe('an assigned VM', () => {
  it.each([
    ['waits with its runner', {}, NOTHING],
    ['is at another job', { listed: [runner({ busy: true })] }, { ...NOTHING, taken: ['vm-1'] }],
    ['is at its own', { listed: [runner({ busy: true })], vms: [vm({ runsJob: '7' })] }, NOTHING],
    ['has lost its runner', { listed: [] }, { ...NOTHING, gone: ['vm-1'] }],
    ['may be on a page that was not read', { listed: [], complete: false }, NOTHING],
    ['was minted just now', { listed: [], vms: [vm({ phaseSinceMs: NOW_MS - 29_999 })] }, NOTHING],
    ['has no runner yet', { listed: [], vms: [vm({ phase: 'idle', runnerId: null })] }, NOTHING],
  ])('%s', (_, look, words) => {
    expect(judge(look)).toEqual(words);
  });
});

describe('a runner without a VM', () => {
  it.each([
    ['is a ghost', {}, [5]],
    ['is not offline yet', { online: true }, []],
    ['is busy', { busy: true }, []],
    ['is not one of ours', { name: 'build-7' }, []],
  ])('%s', (_, over, ghosts) => {
    const listed = [runner({ online: false, ...over })];
    expect(judge({ listed, vms: [] }).ghosts).toEqual(ghosts);
  });

  it('is none while its VM has a record', () => {
    expect(judge({ listed: [runner({ online: false })] })).toEqual(NOTHING);
  });
});
