import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { type GuestRequest, parseGuestRequest } from './parse-guest-request.ts';

const JSON_TYPE = 'application/json';
const request = (over: Partial<GuestRequest>): GuestRequest => ({
  ...{ method: 'GET', target: '/v1/vm', contentType: undefined, body: '' },
  ...over,
});
const hold = (over: Partial<GuestRequest> = {}) =>
  request({
    ...{ method: 'PUT', target: '/v1/hold', contentType: JSON_TYPE, body: '{"held":true}' },
    ...over,
  });

const resize = (name: string) => hold({ target: '/v1/class', body: `{"class":${name}}` });

it.each<[string, GuestRequest, object]>([
  ['a look', request({}), { kind: 'look' }],
  ['a summary', request({ target: '/v1/summary' }), { kind: 'look' }],
  ['a hold', hold(), { kind: 'hold', held: true }],
  ['a release', hold({ body: ' {"held": false} ' }), { kind: 'hold', held: false }],
  ['a class', resize('"large"'), { kind: 'resize', class: 'large' }],
  ['no class any more', resize('null'), { kind: 'resize', class: null }],
  ['a charset', hold({ contentType: 'Application/JSON; charset=utf-8' }), { kind: 'hold' }],
])('%s is understood', (_what, given, ask) => {
  expect(parseGuestRequest(given)).toMatchObject({ kind: 'ask', ask });
});

it.each<[string, GuestRequest, number]>([
  ['another path', request({ target: '/v1/vms' }), 404],
  ['a query', request({ target: '/v1/vm?id=vm-2' }), 404],
  ['a path that climbs', request({ target: '/v1/../v1/vm' }), 404],
  ['a whole URL', request({ target: 'http://169.254.1.1:8042/v1/vm' }), 404],
  ['HEAD', request({ method: 'HEAD' }), 405],
  ['POST', hold({ method: 'POST' }), 405],
  ['a look with a body', request({ body: '{}' }), 400],
  ['a form', hold({ contentType: 'application/x-www-form-urlencoded' }), 415],
  ['no type', hold({ contentType: undefined }), 415],
  ['another type that begins so', hold({ contentType: 'application/jsonp' }), 415],
  ['no JSON', hold({ body: '{"held":tru' }), 400],
  ['a text for a truth value', hold({ body: '{"held":"true"}' }), 400],
  ['no name of a class', resize('""'), 400],
  ['a long one', resize(`"${'x'.repeat(65)}"`), 400],
  ['a size for a class', resize('{"cpu":64}'), 400],
  ['a VM beside it', hold({ body: '{"held":true,"vmId":"vm-2"}' }), 400],
])('%s is wrong', (_what, given, status) => {
  expect(parseGuestRequest(given)).toMatchObject({ kind: 'wrong', status });
});

/** Written from the API's description, without the parser's parts. */
function oracle({ method, target, contentType = '', body }: GuestRequest): string {
  const looks = new Map([
    ['/v1/vm', 'json'],
    ['/v1/summary', 'summary'],
  ]);
  const look = looks.get(target);
  if (look !== undefined) return method === 'GET' && body === '' ? look : 'wrong';
  if (!['/v1/hold', '/v1/class'].includes(target) || method !== 'PUT') return 'wrong';
  const [type = ''] = contentType.split(';');
  if (type.toLowerCase() !== 'application/json') return 'wrong';
  const white = '[ \\t\\n\\r]*';
  const [name, value] =
    target === '/v1/hold'
      ? ['held', 'true|false']
      : ['class', '"[^"\\\\\\u0000-\u001f]{1,64}"|null'];
  const pair = `${white}"${name}"${white}:${white}(${value})${white}`;
  return new RegExp(`^${white}\\{${pair}\\}${white}$`, 'u').exec(body)?.[1] ?? 'wrong';
}

it('property: 100,000 hostile requests are taken for what they are and nothing else', () => {
  const seed = randomInt(2 ** 31);
  onTestFinished(({ task }) => {
    if (task.result?.state === 'fail') console.log(`seed ${seed}`);
  });
  const near = (...texts: string[]) =>
    fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...texts) },
      fc
        .tuple(fc.constantFrom(...texts), fc.nat(20), fc.string({ maxLength: 3 }))
        .map(([text, at, put]) => text.slice(0, at) + put + text.slice(at + put.length)),
      fc.string({ maxLength: 40, unit: 'binary' }),
    );
  const requests = fc.record({
    method: near('GET', 'PUT', 'POST', 'get'),
    target: near('/v1/vm', '/v1/summary', '/v1/hold', '/v1/class'),
    contentType: fc.option(near(JSON_TYPE, 'APPLICATION/json;x'), { nil: undefined }),
    body: near(
      '',
      '{"held":true}',
      '{ "held" : false }',
      '{"held":1}',
      '{"class":"large"}',
      '{"class": null }',
    ),
  });
  const heard = (given: GuestRequest) => {
    const parsed = parseGuestRequest(given);
    if (parsed.kind === 'wrong') return 'wrong';
    if (parsed.ask.kind === 'look') return parsed.as;
    return JSON.stringify(parsed.ask.kind === 'hold' ? parsed.ask.held : parsed.ask.class);
  };
  let understood = 0;
  fc.assert(
    fc.property(requests, (given) => {
      // What escapes stand for is JSON's own affair.
      fc.pre(!given.body.includes('\\'));
      const expected = oracle(given);
      if (expected !== 'wrong') understood += 1;
      return heard(given) === expected;
    }),
    { numRuns: 100_000, seed },
  );
  expect(understood).toBeGreaterThan(1_000);
});
