/**
 * The fake's price list: GetProducts in AWS's JSON protocol, strict about service and filters.
 * https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
 */
import { z } from 'zod';
import { type Ec2World, FakeRefusal } from './ec2-world.ts';

const REGION = 'eu-central-1';
const SKU = 'ABCDEFGHJKMNPQRS';
/** The product's attributes that each filter has to match. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  ...{ regionCode: REGION, operatingSystem: 'Linux', tenancy: 'Shared', preInstalledSw: 'NA' },
  ...{ licenseModel: 'No License required', capacitystatus: 'Used', marketoption: 'OnDemand' },
};

const Query = z.strictObject({
  ServiceCode: z.literal('AmazonEC2'),
  FormatVersion: z.literal('aws_v1'),
  MaxResults: z.int().min(1).max(100),
  Filters: z
    .array(z.strictObject({ Type: z.literal('TERM_MATCH'), Field: z.string(), Value: z.string() }))
    .max(50),
  NextToken: z.string().optional(),
});

export function isPriceListAction(target: string | undefined): boolean {
  return target?.startsWith('AWSPriceListService.') ?? false;
}

export function getProducts(world: Ec2World, body: string): string {
  const query = Query.safeParse(JSON.parse(body)).data;
  if (query === undefined) throw new FakeRefusal('InvalidParameterException', 'Not a query.');
  const rows = [...world.onDemandUsd].filter(() =>
    query.Filters.every(({ Field, Value }) => ATTRIBUTES[Field] === Value),
  );
  const from = Number(query.NextToken ?? 0);
  const to = from + Math.min(world.pageSize, query.MaxResults);
  return JSON.stringify({
    FormatVersion: 'aws_v1',
    PriceList: rows.slice(from, to).map(([type, usd]) => productOf(type, usd)),
    ...(to < rows.length ? { NextToken: String(to) } : {}),
  });
}

export function refusalJson({ code, message }: FakeRefusal): string {
  return JSON.stringify({ __type: `com.amazonaws.pricing#${code}`, Message: message });
}

function productOf(instanceType: string, usd: number): string {
  const priceDimensions = {
    [`${SKU}.JRTCKXETXF.6YS6EN2CT7`]: {
      ...{ unit: 'Hrs', endRange: 'Inf', beginRange: '0', appliesTo: [] },
      pricePerUnit: { USD: usd.toFixed(10) },
    },
  };
  return JSON.stringify({
    product: { attributes: { ...ATTRIBUTES, instanceType }, sku: SKU },
    serviceCode: 'AmazonEC2',
    terms: { OnDemand: { [`${SKU}.JRTCKXETXF`]: { priceDimensions, sku: SKU } } },
  });
}
