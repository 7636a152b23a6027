import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { HostId } from '../../../host-agent/protocol/ids.ts';
import { IssuedToken } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { joinFleet } from '../join/join.ts';
import { readJoinToken } from '../join/join-token.ts';
import { leaveFleet } from '../join/leave.ts';
import { type Output, show } from '../output.ts';
import { formatDuration } from '../table.ts';

const EXAMPLES = `
Examples:
  architect host token                    where the control plane runs
  sudo architect host join architect_…    on the machine that is to become a host
  sudo architect host leave               on a host, to make it a plain machine again
  architect host revoke worker-1-a1b2c3   never let this host connect again`;

export function addHostCommand(program: Command, output: Output): void {
  const host = program.command('host').description('add and remove hosts');
  host.addHelpText('after', EXAMPLES);
  host
    .command('token')
    .description('print a one-time token that turns a machine into a host or gateway')
    .option('--ttl <minutes>', 'how long it can be used (1 to 10080)', parseMinutes, 60)
    .option('--gateway', 'for a machine that is to become a gateway', false)
    .option('--json', 'print JSON', false)
    .addHelpText('after', '\nExample:\n  architect host token --ttl 15')
    .action((options: TokenOptions) => printToken(output, options));
  host
    .command('join')
    .description('turn this machine into a host: needs root, and Debian 12 or 13 or Ubuntu 24.04')
    .argument('<token>', 'as printed by: architect host token; - reads it from standard input')
    .option('--foreground', 'run the host-agent here instead of as a service', false)
    .addHelpText('after', '\nExample:\n  sudo architect host join - < token.txt')
    .action(async (token: string, { foreground }: { foreground: boolean }) =>
      joinFleet({ token: await readJoinToken(token, process.stdin), foreground, output }),
    );
  host
    .command('leave')
    .description('stop the host-agent on this machine and remove its service')
    .option('--force', 'even while VMs are here; their jobs fail', false)
    .addHelpText('after', '\nExample:\n  sudo architect host leave')
    .action(({ force }: { force: boolean }) => leaveFleet({ force, output }));
  host
    .command('revoke')
    .description("revoke a host's certificate for good")
    .argument('<id>', 'as listed by: architect hosts')
    .addHelpText('after', '\nExample:\n  architect host revoke worker-1-a1b2c3')
    .action((id: string) => revoke(output, id));
}

interface TokenOptions {
  readonly ttl: number;
  readonly gateway: boolean;
  readonly json: boolean;
}

async function printToken(output: Output, { ttl, gateway, json }: TokenOptions): Promise<void> {
  const role = gateway ? 'gateway' : 'host';
  const value = await callApi(findApi(output.environment), {
    method: 'POST',
    path: '/hosts/tokens',
    body: { ttlSeconds: ttl * 60, role },
    answer: IssuedToken,
  });
  const present = ({ token, expiresAtMs }: z.infer<typeof IssuedToken>): string =>
    `${token}\n\nGood for one ${role}, for ${formatDuration(expiresAtMs - output.now())}. ` +
    'There, as root:\n  npm run architect -- host join TOKEN';
  show(output, { json, value, present });
}

async function revoke(output: Output, id: string): Promise<void> {
  const { revoked } = await callApi(findApi(output.environment), {
    method: 'DELETE',
    path: `/hosts/${encodeURIComponent(id)}`,
    answer: z.object({ revoked: HostId }),
  });
  output.write(`Host ${revoked} can no longer connect.\n`);
}

function parseMinutes(text: string): number {
  const minutes = Number(text);
  if (Number.isInteger(minutes) && minutes >= 1 && minutes <= 10_080) return minutes;
  throw new InvalidArgumentError('Wants whole minutes from 1 to 10080.');
}
