/** What the provider sells, and what was bought and given back. */
import { z } from 'zod';
import { type Route, route } from './route.ts';
import { MarketView } from './views.ts';

const NOTHING = z.strictObject({});
const LOOK_LIMIT_MS = 10_000;

export const MARKET_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/offers',
    operationId: 'listOffers',
    summary: 'Hosts on sale now, what is not on sale and why, and what was decided about money.',
    params: NOTHING,
    query: NOTHING,
    body: NOTHING,
    status: 200,
    answer: MarketView,
    handle: async (_, { market }) => {
      const { offers, shut, decisions, starts, ...rest } = await market.look(
        AbortSignal.timeout(LOOK_LIMIT_MS),
      );
      return {
        kind: 'ok',
        body: {
          ...rest,
          offers: [...offers],
          shut: [...shut],
          decisions: [...decisions],
          starts: [...starts],
        },
      };
    },
  }),
];
