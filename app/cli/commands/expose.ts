import { type Command, InvalidArgumentError } from 'commander';
import { OfferedPortList } from '../../api/views.ts';
import { callApi, findApi } from '../api-client.ts';
import { type Output, show } from '../output.ts';

const MAX_PORT = 65_535;
const EXAMPLES = `
Examples:
  architect expose vm-1a2b3c4d 8080            some public port leads to the VM's port 8080
  architect expose vm-1a2b3c4d 53 --udp --public 9000
  architect expose vm-1a2b3c4d 8080 --undo`;

interface ExposeOptions {
  readonly udp: boolean;
  readonly public?: number;
  readonly undo: boolean;
  readonly json: boolean;
}

export function addExposeCommand(program: Command, output: Output): void {
  program
    .command('expose')
    .description("have a port of the gateway's public address lead to a port of a VM")
    .argument('<vm>', 'as listed by: architect vms')
    .argument('<port>', "the VM's", parsePort)
    .option('--udp', 'not TCP but UDP', false)
    .option('--public <port>', 'a certain public port; any that is free otherwise', parsePort)
    .option('--undo', 'no public port leads there any more', false)
    .option('--json', 'print JSON', false)
    .addHelpText('after', EXAMPLES)
    .action(async (vm: string, guestPort: number, options: ExposeOptions) => {
      const { udp, public: publicPort, undo, json } = options;
      const value = await callApi(findApi(output.environment), {
        method: 'POST',
        path: `/vms/${encodeURIComponent(vm)}/ports`,
        body: { protocol: udp ? 'udp' : 'tcp', guestPort, publicPort, undo },
        answer: OfferedPortList,
      });
      show(output, { json, value, present });
    });
}

function present({ vmId, address, ports }: OfferedPortList): string {
  if (ports.length === 0) return `No public port leads to ${vmId}.`;
  return ports
    .map(
      ({ protocol, publicPort, guestPort }) =>
        `${address ?? 'its gateway (away)'}:${publicPort} leads to port ${guestPort} of ${vmId} (${protocol})`,
    )
    .join('\n');
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= MAX_PORT) return port;
  throw new InvalidArgumentError('Wants a port, 1 to 65535.');
}
