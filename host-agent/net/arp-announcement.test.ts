import { expect, it } from 'vitest';
import { encodeAnnouncements } from './arp-announcement.ts';

it('announces as a request and as a reply', () => {
  const frames = encodeAnnouncements({ address: '203.0.113.1', mac: '02:61:0a:00:00:01' });
  const head = 'ffffffffffff02610a00000108060001080006040';
  const sender = '02610a000001cb007101';
  expect(frames.map((frame) => frame.toString('hex'))).toEqual([
    `${head}001${sender}000000000000cb007101`,
    `${head}002${sender}ffffffffffffcb007101`,
  ]);
});
