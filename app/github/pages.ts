const PER_PAGE = 100;

/** A type, not an interface: Octokit takes what has an index signature. */
export type Page = {
  readonly page: number;
  readonly per_page: number;
};

export interface Pages<T> {
  readonly items: T[];
  /** False: the last page that was read was full, so there may be more. */
  readonly complete: boolean;
}

/** Reads page after page until one is not full, `maxPages` at most. */
export async function readPages<T>(
  maxPages: number,
  read: (page: Page) => Promise<readonly T[]>,
): Promise<Pages<T>> {
  const items: T[] = [];
  for (let page = 1; page <= maxPages; page += 1) {
    const some = await read({ page, per_page: PER_PAGE });
    items.push(...some);
    if (some.length < PER_PAGE) return { items, complete: true };
  }
  return { items, complete: false };
}
