import { describe, expect, it } from 'vitest';
import { composeProductQuery, readOnDemandPrices } from './price-list.ts';

const REGION = 'eu-central-1';

/** As GetProducts has it, with the parts that are not looked at. */
function product(
  instanceType: string,
  usd: string,
  { unit = 'Hrs', regionCode = REGION, currency = 'USD' } = {},
): string {
  const sku = 'ABCDEFGHJKMNPQRS';
  return JSON.stringify({
    product: {
      productFamily: 'Compute Instance',
      attributes: {
        instanceType,
        regionCode,
        operatingSystem: 'Linux',
        vcpu: '4',
        memory: '16 GiB',
      },
      sku,
    },
    serviceCode: 'AmazonEC2',
    terms: {
      OnDemand: {
        [`${sku}.JRTCKXETXF`]: {
          priceDimensions: {
            [`${sku}.JRTCKXETXF.6YS6EN2CT7`]: {
              ...{ unit, beginRange: '0', endRange: 'Inf', appliesTo: [] },
              ...{ description: `$${usd} per On Demand`, pricePerUnit: { [currency]: usd } },
            },
          },
          ...{ sku, offerTermCode: 'JRTCKXETXF', effectiveDate: '2026-11-01T00:00:00Z' },
        },
      },
      Reserved: {},
    },
    ...{ version: '20261101000000', publicationDate: '2026-11-01T00:00:00Z' },
  });
}

const read = (...products: readonly string[]) => readOnDemandPrices(products, REGION);

describe('readOnDemandPrices', () => {
  it('reads the price by the hour of each type', () => {
    expect(read(product('m8i.xlarge', '0.2540000000'), product('c8i.2xlarge', '0.4'))).toEqual({
      'm8i.xlarge': 0.254,
      'c8i.2xlarge': 0.4,
    });
  });

  it.each([
    ['another unit', product('m8i.xlarge', '1', { unit: 'Quantity' })],
    ['another region', product('m8i.xlarge', '1', { regionCode: 'us-east-1' })],
    ['another currency', product('m8i.xlarge', '1', { currency: 'CNY' })],
    ['no price, as of reserved capacity', product('m8i.xlarge', '0.0000000000')],
    ['no number', product('m8i.xlarge', 'free')],
    ['what is no JSON', '{"product":'],
    ['a dedicated host, which has reserved terms only', '{"product":{},"terms":{"Reserved":{}}}'],
  ])('leaves out %s', (_, odd) => {
    expect(read(odd)).toEqual({});
  });

  it('believes the dearest where there are several, so that limits hold', () => {
    const prices = ['0.2', '0.3', '0.1'].map((usd) => product('m8i.xlarge', usd));
    expect(read(...prices)).toEqual({ 'm8i.xlarge': 0.3 });
  });
});

it('asks for one product of each type, page after page', () => {
  const query = JSON.parse(composeProductQuery(REGION, 'next'));
  expect(query).toMatchObject({ ServiceCode: 'AmazonEC2', MaxResults: 100, NextToken: 'next' });
  expect(query.Filters).toContainEqual({ Type: 'TERM_MATCH', Field: 'regionCode', Value: REGION });
  expect(JSON.parse(composeProductQuery(REGION, undefined))).not.toHaveProperty('NextToken');
});
