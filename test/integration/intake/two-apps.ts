/** Two Apps at one GitHub: the first installed in acme (1), the other in the organisation other (2). */
import {
  APP_ID,
  type GitHubFixture,
  KEYS,
  OTHER_APP,
  WEBHOOK_SECRET,
} from '../../contract/github/fixture.ts';
import type { GivenOptions } from '../../fakes/github/options.ts';
import type { Simulation } from '../../fakes/github/simulation.ts';

/** As the control plane is told of them: as many as GitHub was started with. */
export function appsAt(apiUrl: string, { furtherApps = [] }: Partial<GivenOptions>) {
  const { appId, webhookSecret, keys } = OTHER_APP;
  return {
    ...{ apiUrl, appId: APP_ID, privateKey: KEYS.privateKey, webhookSecret: WEBHOOK_SECRET },
    furtherApps: furtherApps.map(() => {
      return { apiUrl, appId, webhookSecret, privateKey: keys.privateKey };
    }),
  };
}

export function installOther({ github }: GitHubFixture) {
  const { world } = github.simulation;
  const account = world.addAccount('other', 'Organization');
  const repository = world.addRepository(account, 'gadgets');
  const installation = world.addInstallation(account, world.options.permissions, OTHER_APP.appId);
  return { repository, installation };
}

/** One run with so many jobs in the other organisation. */
export function pushOther(simulation: Simulation, count: number) {
  const jobs = Array.from(
    { length: count },
    (_, n) => `  job-${n}: { runs-on: architect, steps: [{ run: ok }] }`,
  );
  const repository = simulation.world.repository('other', 'gadgets');
  return simulation.push(repository, `on: push\njobs:\n${jobs.join('\n')}\n`).jobs;
}
