import { expect, it } from 'vitest';
import type { InstanceClass } from '../../host-agent/protocol/instance-class.ts';
import type { ResizeWord } from '../../host-agent/protocol/resize-messages.ts';
import { vmReport } from '../../test/fixtures/protocol.ts';
import { type ResizeWish, resizedBy } from './vm-resize.ts';

const HAS: InstanceClass = { vcpus: 2, memoryMib: 4_096, diskGib: 20, arch: 'x64' };
const SIZE = { vcpus: 4, memoryMib: 8_192 };
const GROWN = { ...HAS, ...SIZE };
const WANTED: ResizeWish = {
  ...{ class: 'large', size: SIZE, state: 'wanted', why: null, askedAtMs: 1 },
};

function after(resize: ResizeWish | null, size: InstanceClass, word?: ResizeWord) {
  const report = vmReport({ class: size, ...(word && { resize: word }) });
  return resizedBy({ class: HAS, resize }, report);
}

it('is wanted until its host says that it has that size and is done', () => {
  expect(after(WANTED, HAS)).toBeUndefined();
  expect(after(WANTED, GROWN, { size: SIZE, failed: null })).toEqual({
    class: GROWN,
    resize: WANTED,
  });
  expect(after(WANTED, GROWN)).toEqual({ class: GROWN, resize: { ...WANTED, state: 'done' } });
});

it('is refused when its host failed at this size, not at an earlier one', () => {
  const failed = { size: SIZE, failed: 'The guest does not answer.' };
  expect(after(WANTED, HAS, failed)).toEqual({
    class: HAS,
    resize: { ...WANTED, state: 'refused', why: 'The guest does not answer.' },
  });
  expect(after(WANTED, HAS, { ...failed, size: { ...SIZE, vcpus: 3 } })).toBeUndefined();
});

it('follows the host where nobody wished anything, and is silent without a report', () => {
  expect(after(null, GROWN)).toEqual({ class: GROWN, resize: null });
  expect(resizedBy({ class: HAS, resize: WANTED }, undefined)).toBeUndefined();
});
