/** The simulated GitHub as a process; prints one JSON line when it is ready. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { z } from 'zod';
import { type Durations, MINIMUM_PERMISSIONS, type Permissions } from './options.ts';
import { startSimulatedGitHub } from './simulated-github.ts';

const Milliseconds = z.coerce.number().int().positive().optional();
const Arguments = z.object({
  listen: z.string().regex(/^[^:]+:\d+$/, 'wants HOST:PORT'),
  appId: z.coerce.number().int().positive(),
  appPublicKey: z.string(),
  webhookUrl: z.url().optional(),
  webhookSecretFile: z.string(),
  controlTokenFile: z.string(),
  permission: z.array(z.string().regex(/^[a-z_]+=(read|write)$/)).default([]),
  seed: z.coerce.number().int().default(1),
  lockMs: Milliseconds,
  lockRenewMs: Milliseconds,
  offerMs: Milliseconds,
  offlineMs: Milliseconds,
  unusedJitMs: Milliseconds,
  cancelMs: Milliseconds,
});
type Arguments = z.infer<typeof Arguments>;

function readArguments(): Arguments {
  const command = new Command('simulated-github')
    .requiredOption('--listen <host:port>')
    .requiredOption('--app-id <n>')
    .requiredOption('--app-public-key <file>', 'PEM')
    .requiredOption('--webhook-secret-file <file>')
    .requiredOption('--control-token-file <file>', 'the bearer token for /_sim')
    .option('--webhook-url <url>')
    .option('--permission <name=access...>', 'more than the minimum, for example checks=write')
    .option('--seed <n>', 'decides which of several fitting runners gets a job')
    .option('--lock-ms <ms>')
    .option('--lock-renew-ms <ms>')
    .option('--offer-ms <ms>')
    .option('--offline-ms <ms>')
    .option('--unused-jit-ms <ms>')
    .option('--cancel-ms <ms>');
  return Arguments.parse(command.parse().opts());
}

function durationsOf(given: Arguments): Partial<Durations> {
  const { lockMs, lockRenewMs, offerMs, offlineMs, unusedJitMs, cancelMs } = given;
  const all = { lockMs, lockRenewMs, offerMs, offlineMs, unusedJitMs, cancelMs };
  return Object.fromEntries(Object.entries(all).filter(([, ms]) => ms !== undefined));
}

function permissionsOf(given: Arguments): Permissions {
  const more = given.permission.map((text) => text.split('='));
  const Access = z.enum(['read', 'write']);
  return {
    ...MINIMUM_PERMISSIONS,
    ...Object.fromEntries(more.map(([name = '', access]) => [name, Access.parse(access)])),
  };
}

const given = readArguments();
const colon = given.listen.lastIndexOf(':');
const github = await startSimulatedGitHub({
  host: given.listen.slice(0, colon),
  port: Number(given.listen.slice(colon + 1)),
  appId: given.appId,
  appPublicKey: readFileSync(given.appPublicKey, 'utf8'),
  webhookUrl: given.webhookUrl,
  webhookSecret: readFileSync(given.webhookSecretFile, 'utf8').trim(),
  controlToken: readFileSync(given.controlTokenFile, 'utf8').trim(),
  permissions: permissionsOf(given),
  durations: durationsOf(given),
  seed: given.seed,
});
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => void github.close().finally(() => process.exit(0)));
}
console.log(JSON.stringify({ url: github.url, pid: process.pid }));
