/**
 * What AWS's price list says an hour of each type costs on demand: the question and the answer of
 * GetProducts (Price List Query API). Pure.
 *
 * The list names each product as a JSON text of its own; its price stands under terms of `OnDemand`,
 * below a SKU and a rate code that mean nothing here. The filters leave one product for each type:
 * Linux, shared tenancy, no software in the price, capacity that is used rather than reserved.
 *
 * https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
 */
import { z } from 'zod';

const PAGE_SIZE = 100;

const Price = z.object({
  unit: z.string(),
  pricePerUnit: z.object({ USD: z.coerce.number() }),
});

const Product = z.object({
  product: z.object({
    attributes: z.object({ instanceType: z.string().max(64), regionCode: z.string().optional() }),
  }),
  terms: z.object({
    OnDemand: z.record(z.string(), z.object({ priceDimensions: z.record(z.string(), Price) })),
  }),
});

export const ProductPage = z.object({
  PriceList: z.array(z.string()),
  NextToken: z.string().optional(),
});
export type ProductPage = z.infer<typeof ProductPage>;

export function composeProductQuery(region: string, nextToken: string | undefined): string {
  const filters = {
    regionCode: region,
    operatingSystem: 'Linux',
    tenancy: 'Shared',
    preInstalledSw: 'NA',
    licenseModel: 'No License required',
    capacitystatus: 'Used',
  };
  return JSON.stringify({
    ServiceCode: 'AmazonEC2',
    FormatVersion: 'aws_v1',
    MaxResults: PAGE_SIZE,
    Filters: Object.entries(filters).map(([Field, Value]) => ({
      ...{ Type: 'TERM_MATCH', Field, Value },
    })),
    ...(nextToken === undefined ? {} : { NextToken: nextToken }),
  });
}

/** In dollars, by type. What has no price by the hour is left out; of several prices the highest counts. */
export function readOnDemandPrices(
  priceList: readonly string[],
  region: string,
): Readonly<Record<string, number>> {
  const prices: Record<string, number> = {};
  for (const text of priceList) {
    const product = Product.safeParse(parse(text)).data;
    if (product === undefined) continue;
    const { instanceType, regionCode = region } = product.product.attributes;
    if (regionCode !== region) continue;
    for (const { priceDimensions } of Object.values(product.terms.OnDemand))
      for (const { unit, pricePerUnit } of Object.values(priceDimensions))
        if (unit === 'Hrs' && pricePerUnit.USD > 0)
          prices[instanceType] = Math.max(prices[instanceType] ?? 0, pricePerUnit.USD);
  }
  return prices;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
