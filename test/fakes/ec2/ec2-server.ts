/** The fake EC2 on a port of the loopback interface. The SDK itself talks to it, signatures and all. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { act } from './ec2-actions.ts';
import { Ec2World, FakeRefusal } from './ec2-world.ts';
import { getProducts, isPriceListAction, refusalJson } from './price-list.ts';
import { answerXml, errorXml, QueryForm } from './query-protocol.ts';

const MAX_BODY_BYTES = 1024 * 1024;
/** As EC2 has it. */
const LONGEST_SKEW_MS = 300_000;
const EC2_SCOPE = '/eu-central-1/ec2/aws4_request,';
const PRICING_SCOPE = '/us-east-1/pricing/aws4_request,';

export interface FakeEc2 {
  readonly url: string;
  readonly world: Ec2World;
  stop(): Promise<void>;
}

export async function startFakeEc2(): Promise<FakeEc2> {
  const world = new Ec2World();
  const server = createServer((request, response) => {
    answer(world, request, response).catch((error: unknown) => response.destroy(asError(error)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  const stop = async () => {
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    server.closeAllConnections();
    await closed.promise;
  };
  return { url: `http://127.0.0.1:${address.port}`, world, stop };
}

async function answer(
  world: Ec2World,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await readBody(request);
  const { authorization = '', 'x-amz-target': target } = request.headers;
  const isPricing = isPriceListAction(String(target));
  const form = QueryForm.parse(isPricing ? '' : body);
  const action = isPricing ? String(target).replace(/^.*\./, '') : (form.get('Action') ?? '');
  world.seen.push(action);
  const send = (status: number, text: string) => {
    const type = isPricing ? 'application/x-amz-json-1.1' : 'text/xml;charset=UTF-8';
    const date = new Date(world.nowMs()).toUTCString();
    response.writeHead(status, { 'content-type': type, date });
    response.end(text);
  };
  try {
    if (!authorization.startsWith('AWS4-HMAC-SHA256 '))
      throw new FakeRefusal('MissingAuthenticationToken', 'The request is not signed.', 403);
    if (!authorization.includes(isPricing ? PRICING_SCOPE : EC2_SCOPE))
      throw new FakeRefusal('InvalidSignatureException', 'It is signed for something else.', 403);
    if (Math.abs(signedAtMs(request) - world.nowMs()) > LONGEST_SKEW_MS)
      throw new FakeRefusal('RequestExpired', 'It was signed at another time.');
    const fault = world.outage ?? takeFault(world, action);
    if (fault !== undefined && fault !== 'lost')
      throw new FakeRefusal(fault, 'As the test wants it.', STATUS[fault] ?? 400);
    const text = isPricing ? getProducts(world, body) : answerXml(action, act(world, action, form));
    if (fault === 'lost') response.destroy();
    else send(200, text);
  } catch (error) {
    if (!(error instanceof FakeRefusal)) throw error;
    send(error.status, isPricing ? refusalJson(error) : errorXml(error.code, error.message));
  }
}

/** `20261125T131742Z` */
function signedAtMs({ headers }: IncomingMessage): number {
  const [, y, mo, d, h, mi, s] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(String(headers['x-amz-date'])) ?? [];
  return Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
}

const STATUS: Readonly<Record<string, number>> = {
  RequestLimitExceeded: 503,
  InternalError: 500,
  AuthFailure: 401,
  UnauthorizedOperation: 403,
};

function takeFault({ faults }: Ec2World, action: string): string | undefined {
  const at = faults.findIndex((fault) => fault.action === action);
  return at < 0 ? undefined : faults.splice(at, 1)[0]?.code;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    const bytes = Buffer.from(part);
    length += bytes.length;
    if (length > MAX_BODY_BYTES) throw new Error('more than any EC2 request has');
    parts.push(bytes);
  }
  return Buffer.concat(parts).toString();
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
