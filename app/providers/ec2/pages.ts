/** All pages of an answer, up to a limit: an endless list is a broken one. */
import { Ec2UnavailableError } from './ec2-errors.ts';

const MAX_PAGES = 100;

export async function collectPages<Page, Row>(
  pages: AsyncIterable<Page>,
  rowsOf: (page: Page) => readonly Row[] | undefined,
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  let count = 0;
  for await (const page of pages) {
    rows.push(...(rowsOf(page) ?? []));
    count += 1;
    if (count >= MAX_PAGES)
      throw new Ec2UnavailableError(`EC2 answered with more than ${MAX_PAGES} pages.`);
  }
  return rows;
}
