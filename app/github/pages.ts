const PER_PAGE = 100;

/** A type, not an interface: Octokit takes what has an index signature. */
export type Page = {
  readonly page: number;
  readonly per_page: number;
};

/** Reads page after page until one is not full, `maxPages` at most. */
export async function readPages<T>(
  maxPages: number,
  read: (page: Page) => Promise<readonly T[]>,
): Promise<T[]> {
  const all: T[] = [];
  for (let page = 1; page <= maxPages; page += 1) {
    const some = await read({ page, per_page: PER_PAGE });
    all.push(...some);
    if (some.length < PER_PAGE) break;
  }
  return all;
}
