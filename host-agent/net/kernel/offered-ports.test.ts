import { expect, it } from 'vitest';
import { parseOffered, planOffered } from './offered-ports.ts';

const web = { protocol: 'tcp', publicPort: 8_200, guestPort: 80 } as const;
const dns = { protocol: 'udp', publicPort: 8_200, guestPort: 53 } as const;

it('changes what differs and leaves the rest', () => {
  const moved = { ...web, guestPort: 8_080 };
  expect(planOffered('t', '10.201.0.5', { before: [web, dns], after: [dns, moved] })).toBe(
    'delete element inet t offered { tcp . 8200 }\nadd element inet t offered { tcp . 8200 : 10.201.0.5 . 8080 }\n',
  );
  expect(planOffered('t', '10.201.0.5', { before: [web, dns], after: [dns, web] })).toBe('');
});

it('reads what nft lists', () => {
  const elem = [
    [{ concat: ['tcp', 8_200] }, { concat: ['10.201.0.5', 80] }],
    [{ concat: ['udp', 8_200] }, { concat: ['10.201.0.5', 53] }],
  ];
  const listing = { nftables: [{ metainfo: {} }, { map: { name: 'offered', elem } }] };
  expect([...parseOffered(JSON.stringify(listing))]).toEqual([['10.201.0.5', [web, dns]]]);
  expect(parseOffered('{"nftables":[{"map":{"name":"offered"}}]}').size).toBe(0);
});
