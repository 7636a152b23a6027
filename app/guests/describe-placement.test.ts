import { expect, it } from 'vitest';
import { hostFacts, POOL } from '../../test/fixtures/protocol.ts';
import { fleetHost, vmRecord } from '../../test/fixtures/records.ts';
import { HostPrice } from '../records/job-cost.ts';
import { describePlacement, type Placement } from './describe-placement.ts';

const VM = vmRecord({ pool: POOL, createdAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6) });
const PRICE = HostPrice.parse({
  ...{ fromMs: 0, usdPerHour: 0.4, onDemandUsdPerHour: 1.6, vcpus: 8 },
  ...{ memoryMib: VM.class.memoryMib * 4, offer: 'm8i.large/eu-central-1a/spot' },
});

function linesOf(over: Partial<Placement> = {}): string[] {
  const placement = { vm: VM, host: fleetHost(), prices: [], nowMs: VM.createdAtMs + 1_500 };
  return describePlacement({ ...placement, ...over }).split('\n');
}

it('says where, on what, what size, for how much, and since when', () => {
  const cheaper = { ...PRICE, usdPerHour: 9 };
  const { modelName } = hostFacts().cpu;
  expect(linesOf({ prices: [cheaper, PRICE] })).toEqual([
    'Host: host-1 (m8i.large/eu-central-1a/spot)',
    `Processor: ${modelName}, seen as ${POOL.cpuModel} (${hostFacts().accelerator})`,
    `Class: 2cpu-4gb, ${VM.class.diskGib} GB disk`,
    'Price: $0.1000 an hour for its share of the host; on demand $0.4000',
    'VM: vm-1, started 2026-01-02T03:04:05.006Z',
    'Runner: started 2026-01-02T03:04:06.506Z',
  ]);
});

it('says so where nothing is paid by the hour, or no on-demand price is known', () => {
  expect(linesOf()).toContain('Price: none, its host is not bought by the hour');
  expect(linesOf()).toContain('Host: host-1');
  expect(linesOf({ prices: [{ ...PRICE, onDemandUsdPerHour: null }] })).toContain(
    'Price: $0.1000 an hour for its share of the host',
  );
});

it('does without a host that is away', () => {
  expect(linesOf({ host: undefined })).toContain(
    `Processor: not known, seen as ${POOL.cpuModel} (${POOL.accelerator})`,
  );
});

it('lets no host write lines or commands of its own', () => {
  const facts = hostFacts();
  const modelName = 'Evil\n##[error]\r::add-mask::x\u001b[31m\u0085###[group]';
  const host = { facts: { ...facts, cpu: { ...facts.cpu, modelName } } };
  const lines = linesOf({ host });
  expect(lines).toHaveLength(6);
  expect(lines.join()).not.toMatch(/##|::|\p{C}/u);
});

it('fits the message that carries it', () => {
  const facts = hostFacts();
  const host = { facts: { ...facts, cpu: { ...facts.cpu, modelName: 'x'.repeat(10_000) } } };
  expect(linesOf({ host }).join('\n').length).toBeLessThan(2_000);
});
