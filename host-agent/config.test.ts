import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { AgentConfigError, readAgentConfig } from './config.ts';

test('an empty environment gives the defaults of a static host', () => {
  expect(readAgentConfig({})).toEqual({
    agentDir: '/var/lib/architect/agent',
    vmsDir: '/var/lib/architect/agent/vms',
    artifactsDir: '/var/lib/architect/artifacts',
    tokenFile: undefined,
    capacity: undefined,
    name: hostname(),
    fleet: 'main',
    flipPort: 49_216,
    gatewayPublicAddress: undefined,
    gatewayPrefix6: undefined,
    logLevel: 'info',
    guestDns: [],
    guestAllow: [],
    guestRate: undefined,
    checkpointIntervalMs: 300_000,
    underlayMtu: 1500,
    peerPorts: { first: 49_152, last: 49_215 },
    notices: 'auto',
    metadataUrl: 'http://169.254.169.254',
  });
});

test('lists are comma-separated and capacity reads as a class name', () => {
  const config = readAgentConfig({
    ARCHITECT_AGENT_CAPACITY: '4cpu-8gb',
    ARCHITECT_GUEST_DNS: '192.0.2.1, 192.0.2.2',
    ARCHITECT_GUEST_ALLOW: '10.1.0.0/16,fd12::/16',
    ARCHITECT_GUEST_MBIT: '80',
    ARCHITECT_GATEWAY_PREFIX6: '2001:db8:1:2::/64',
  });
  expect(config.capacity).toEqual({ vcpus: 4, memoryMib: 8192 });
  expect(config.guestDns).toEqual(['192.0.2.1', '192.0.2.2']);
  expect(config.guestAllow).toEqual(['10.1.0.0/16', 'fd12::/16']);
  expect(config.guestRate).toEqual({ bytesPerSecond: 10_000_000, burstBytes: 1_000_000 });
  expect(config.gatewayPrefix6).toBe('2001:db8:1:2::/64');
  expect(Object.isFrozen(config)).toBe(true);
});

test.each([
  ['ARCHITECT_AGENT_DIR', 'relative'],
  ['ARCHITECT_AGENT_CAPACITY', '4 cores'],
  ['ARCHITECT_FLEET', 'Main Fleet'],
  ['ARCHITECT_GUEST_DNS', 'resolver.example'],
  ['ARCHITECT_GUEST_ALLOW', '10.0.0.0/33'],
  ['ARCHITECT_GATEWAY_PREFIX6', '2001:db8:1::/48'],
  ['ARCHITECT_GATEWAY_PREFIX6', '2001:db8:1:2::5/64'],
  ['ARCHITECT_GATEWAY_PREFIX6', 'fd12:3456:789a:1::/64'],
  ['ARCHITECT_GUEST_MBIT', '0'],
  ['ARCHITECT_UNDERLAY_MTU', '100'],
  ['ARCHITECT_PEER_PORTS', '49152'],
  ['ARCHITECT_PEER_PORTS', '5000-4000'],
  ['ARCHITECT_PEER_PORTS', '80-90'],
  ['ARCHITECT_PEER_PORTS', '60000-70000'],
  ['ARCHITECT_NOTICES', 'aws'],
  ['ARCHITECT_METADATA_URL', 'https://169.254.169.254'],
  ['ARCHITECT_METADATA_URL', 'http://169.254.169.254/latest'],
  ['ARCHITECT_METADATA_URL', 'nowhere'],
])('%s=%s is refused by name', (name, value) => {
  expect(() => readAgentConfig({ [name]: value })).toThrow(AgentConfigError);
  expect(() => readAgentConfig({ [name]: value })).toThrow(name);
});
