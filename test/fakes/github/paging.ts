/** GitHub's pages: `page`, `per_page` and the Link header. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';

const Page = z.object({
  page: z.coerce.number().int().min(1).catch(1),
  per_page: z.coerce.number().int().min(1).max(100).catch(30),
});

/** This page's items; sets the Link header when there are others. */
export function onePage<T>(
  items: readonly T[],
  { request, reply, base }: { request: FastifyRequest; reply: FastifyReply; base: string },
): T[] {
  const { page, per_page: size } = Page.parse(request.query);
  const last = Math.max(1, Math.ceil(items.length / size));
  const links = [
    ...(page > 1 ? [link('prev', page - 1), link('first', 1)] : []),
    ...(page < last ? [link('next', page + 1), link('last', last)] : []),
  ];
  if (links.length > 0) reply.header('link', links.join(', '));
  return items.slice((page - 1) * size, page * size);

  function link(rel: string, target: number): string {
    const url = new URL(request.url, base);
    url.searchParams.set('page', String(target));
    return `<${url}>; rel="${rel}"`;
  }
}
