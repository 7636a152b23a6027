/** Launch templates that a crash left: ours, and older than any launch takes. They carry dead tokens. */
import { z } from 'zod';
import type { Ec2Requests } from './ec2-requests.ts';
import { filtersOf, isOurs, type Ours, ownTags, Tags } from './own-tags.ts';
import { collectPages } from './pages.ts';

const LEFT_AFTER_MS = 900_000;
const PAGE_SIZE = 200;

const Template = z.object({
  LaunchTemplateId: z.string(),
  CreateTime: z.date(),
  Tags,
});

/** Answers how many it deleted. `nowMs` may be off by minutes: EC2's clock is another. */
export async function sweepTemplates(
  requests: Ec2Requests,
  ours: Ours,
  { nowMs, signal }: { readonly nowMs: number; readonly signal: AbortSignal },
): Promise<number> {
  const raw = await requests.run('list the launch templates', signal, async (call) => {
    const pages = call.sdk.paginateDescribeLaunchTemplates(
      { client: call.client, pageSize: PAGE_SIZE },
      { Filters: filtersOf(ownTags(ours)) },
      { abortSignal: call.abortSignal },
    );
    return await collectPages(pages, ({ LaunchTemplates }) => LaunchTemplates);
  });
  const left = raw.flatMap((one) => {
    const template = Template.safeParse(one).data;
    if (template === undefined || !isOurs(template.Tags, ours)) return [];
    return nowMs - template.CreateTime.getTime() > LEFT_AFTER_MS ? [template.LaunchTemplateId] : [];
  });
  for (const LaunchTemplateId of left)
    await requests.run('delete a launch template', signal, (call) =>
      call.client.send(new call.sdk.DeleteLaunchTemplateCommand({ LaunchTemplateId }), {
        abortSignal: call.abortSignal,
      }),
    );
  return left.length;
}
