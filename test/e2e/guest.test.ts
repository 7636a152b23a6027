/** What a job finds inside its VM: its class, no secret of its runner, and nobody but the outside. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SMOKE_PATH, SMOKE_WORKFLOW } from '../../app/cli/doctor/smoke-workflow.ts';
import type { SimulatedFleet } from '../../app/demo/simulated-fleet.ts';
import { chooseGuestAddress, GUEST_RANGE } from '../../host-agent/protocol/guest-addresses.ts';
import { actionCheckout } from '../fixtures/action-files.ts';
import { runCli } from '../integration/setup/run-cli.ts';
import { busyVm, listHosts, never, pushJob, settled, startFleet } from './fleet.ts';
import { openGate } from './gate.ts';

const CONNECT_SECONDS = 3;

let fleet: SimulatedFleet;

beforeAll(async () => {
  fleet = await startFleet({ gateway: true });
});

afterAll(async () => {
  expect(await fleet.close()).toEqual([]);
});

/** Runs a job that must be green; gives its log. */
async function logOf(script: string, label?: string): Promise<string> {
  const jobId = await pushJob(fleet, script, label);
  const { job } = await settled(fleet, jobId);
  const log = await fleet.github.readLog(jobId, never);
  expect(job.conclusion, log).toBe('success');
  return log;
}

it('has its placement at the beginning of its log, and what its VM went through in its summary', async () => {
  const jobId = await pushJob(
    fleet,
    'echo "from the step"; echo "*mine*" >> "$GITHUB_STEP_SUMMARY"',
  );
  const { job, vm } = await settled(fleet, jobId);
  expect(job.conclusion).toBe('success');
  const log = await fleet.github.readLog(jobId, never);
  const [about = '', rest] = log.split('##[endgroup]', 2);
  expect(rest).not.toBeUndefined();
  expect(about).toContain('##[group]Architect\n');
  expect(about).toContain(`Host: ${vm?.hostId}\n`);
  expect(about).toMatch(/Processor: .+, seen as \S+ \((kvm|tcg)\)\n/);
  expect(about).toMatch(/Class: 1cpu-4gb, \d+ GB disk\n/);
  expect(about).toContain('Price: none, its host is not bought by the hour\n');
  expect(about).toMatch(/VM: vm-\S+, started 20\d\d-\S+Z\nRunner: started 20\d\d-\S+Z\n/);
  expect(log.indexOf('Architect')).toBeLessThan(log.indexOf('from the step'));
  const summary = await fleet.github.readSummary(jobId, never);
  expect(summary).toMatch(/^\*mine\*\n/);
  expect(summary).toContain('| Moves survived | 0 |');
  expect(summary).toContain('| Cost | not known: its host has no price |');
});

it('is run by architect doctor --smoke, which tells each phase', async () => {
  const permissions = { organization_self_hosted_runners: 'write', metadata: 'read' } as const;
  await fleet.github.grant({ ...permissions, actions: 'write' }, never);
  await fleet.github.putFile({ path: SMOKE_PATH, text: SMOKE_WORKFLOW }, never);
  const environment = fleet.controlPlaneEnvironment();
  const run = runCli(['doctor', '--smoke', 'acme/widgets', '--json'], environment);
  expect(await run.exit, run.errors() + run.written()).toBe(0);
  const { smoke } = JSON.parse(run.written());
  const phases: { readonly phase: string }[] = smoke.phases;
  for (const phase of ['dispatched', 'VM started', 'runner online', 'done'])
    expect(phases).toContainEqual(expect.objectContaining({ phase }));
  await settled(fleet, smoke.jobId);
});

it('finds no JIT configuration in any process or file that a step can read', async () => {
  // How the base64 of every JIT configuration begins; the brackets keep grep from finding itself.
  const log = await logOf(`
found=$(sudo grep -alE '[e]yIucnVubmVy' /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true)
echo "in processes: <$found>"
sudo ls /run/architect
sudo journalctl --no-pager 2>/dev/null | grep -c '[e]yIucnVubmVy' | sed 's/^/in the journal: /' || true
env | grep -c '[J]ITCONFIG' | sed 's/^/in the environment: /' || true
`);
  expect(log).toContain('in processes: <>');
  expect(log).toContain('in the journal: 0');
  expect(log).toContain('in the environment: 0');
  expect(log).not.toMatch(/^jitconfig$/m);
});

it('reaches the outside, but no host, control plane, metadata service or other guest', async () => {
  await using gate = await openGate(fleet.peer.host);
  const neighbour = await pushJob(fleet, gate.script('neighbour'));
  await gate.arrived();
  const { id: vmId } = await busyVm(fleet, neighbour);
  const neighbourAddress = chooseGuestAddress({ range: GUEST_RANGE, vmId, taken: new Set() });
  const { bridgeAddress } = fleet.network;
  const forbidden = [
    '169.254.169.254:80',
    '169.254.1.1:80',
    `${bridgeAddress}:3443`,
    `${bridgeAddress}:3000`,
    `${fleet.network.hostAddress(0)}:80`,
    `${neighbourAddress}:22`,
  ];
  const tries = forbidden.map(
    (address) =>
      `timeout ${CONNECT_SECONDS} bash -c '</dev/tcp/${address.replace(':', '/')}' 2>/dev/null && answer=0 || answer=$?; echo "${address} $answer"`,
  );
  const { host, port } = fleet.peer;
  const log = await logOf(`
${tries.join('\n')}
exec 3<>/dev/tcp/${host}/${port}; echo ping 1 >&3; read -r answer <&3; echo "outside: $answer"
`);
  expect(log).toContain('outside: pong 1');
  // 124: the packets were dropped and the attempt timed out; nobody answered, not even with a refusal.
  for (const address of forbidden) expect(log).toContain(`${address} 124`);
  gate.open();
  await settled(fleet, neighbour);
  expect((await listHosts(fleet)).every(({ state }) => state === 'connected')).toBe(true);
});

it("chooses a later job's class by the action, in a bare checkout", async () => {
  const inputs = 'INPUT_CPU=1 INPUT_KEY=7-1-pick-0 GITHUB_OUTPUT=$PWD/output';
  const log = await logOf(
    [...(await actionCheckout()), `${inputs} node app/action/main.ts`, 'cat output'].join('\n'),
  );
  const label = /^runs-on=(\S+)$/m.exec(log)?.[1];
  expect(label).toBe('architect/cpu=1/key=7-1-pick-0');
  expect(await logOf('echo "cpus: $(nproc)"', label)).toContain('cpus: 1');
});

it('has the whole of its class from the first step on', async () => {
  const log = await logOf(
    `echo "cpus: $(nproc)"
awk '/MemTotal/ {print "memory in GiB: " int($2 / 1048576 + 0.5)}' /proc/meminfo
df --output=size -BG / | awk 'NR == 2 {print "disk in GiB: " int($1)}'`,
    'architect/cpu=2/ram=4/disk=20',
  );
  expect(log).toContain('cpus: 2');
  expect(log).toContain('memory in GiB: 4');
  expect(Number(/disk in GiB: (\d+)/.exec(log)?.[1])).toBeGreaterThanOrEqual(19);
});
