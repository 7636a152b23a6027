/**
 * Asks AWS's price list, with the EC2 client's credentials and signature: this one question does not
 * need an SDK of its own. The service is in three regions and knows the prices of all.
 */
import { z } from 'zod';
import { errorOf, faultOfCode } from './ec2-errors.ts';
import type { Ec2Call } from './ec2-requests.ts';
import type { Ec2Settings } from './ec2-settings.ts';
import { collectPages } from './pages.ts';
import { composeProductQuery, ProductPage, readOnDemandPrices } from './price-list.ts';
import { askJson } from './public-json.ts';

const PRICING_REGION = 'us-east-1';
const PRICING_URL = `https://api.pricing.${PRICING_REGION}.amazonaws.com`;
const ACTION = 'GetProducts';

const Refusal = z.object({ __type: z.string() });

/** By type, in dollars per hour. Throws one of ec2-errors.ts, or what the way to the service throws. */
export async function askPriceList(
  call: Ec2Call,
  { region, endpoint = PRICING_URL }: Pick<Ec2Settings, 'region' | 'endpoint'>,
): Promise<Readonly<Record<string, number>>> {
  const pages = productPages(call, { region, endpoint });
  return readOnDemandPrices(await collectPages(pages, ({ PriceList }) => PriceList), region);
}

interface Place {
  readonly region: string;
  readonly endpoint: string;
}

async function* productPages(call: Ec2Call, { region, endpoint }: Place) {
  const { config } = call.client;
  // A client's signer signs for ever for what it was first asked for: EC2's own stays EC2's.
  const signing = new call.sdk.EC2Client({
    region: PRICING_REGION,
    credentials: config.credentials,
    systemClockOffset: config.systemClockOffset,
  });
  try {
    let nextToken: string | undefined;
    do {
      const body = composeProductQuery(region, nextToken);
      const page = await ask({ ...call, client: signing }, endpoint, body);
      yield page;
      nextToken = page.NextToken;
    } while (nextToken !== undefined && nextToken !== '');
  } finally {
    signing.destroy();
  }
}

async function ask(call: Ec2Call, endpoint: string, body: string): Promise<ProductPage> {
  const headers = await sign(call, new URL(endpoint), body);
  const { abortSignal: signal } = call;
  const answer = await askJson({ url: `${endpoint}/`, method: 'POST', headers, body, signal });
  if (answer.status === 200) return ProductPage.parse(answer.body);
  const code = Refusal.safeParse(answer.body).data?.__type.split('#').at(-1) ?? 'unknown';
  const fault = answer.status >= 500 ? 'unavailable' : faultOfCode(code);
  throw errorOf(fault, code, { what: 'read the price list', status: answer.status });
}

async function sign(
  { client }: Ec2Call,
  { protocol, hostname, port, host }: URL,
  body: string,
): Promise<Readonly<Record<string, string>>> {
  const signer = await client.config.signer({
    ...{ name: 'sigv4', signingName: 'pricing', signingRegion: PRICING_REGION, properties: {} },
  });
  const headers = {
    host,
    'content-type': 'application/x-amz-json-1.1',
    'x-amz-target': `AWSPriceListService.${ACTION}`,
  };
  const signed = await signer.sign(
    {
      ...{ method: 'POST', protocol, hostname, path: '/', query: {}, body, headers },
      ...(port === '' ? {} : { port: Number(port) }),
    },
    { signingDate: new Date(Date.now() + client.config.systemClockOffset) },
  );
  return signed.headers;
}
