/**
 * Buying one host.
 *
 *   is there one of this client token? ──yes──→ that one
 *      │ no
 *   launch template with its user data → CreateFleet, attempt after attempt → template deleted
 *      │                                  │ none has any: the first cause is thrown
 *      └──────────────────────────────────┴─ bought, but no longer wanted: ended again
 *
 * On success one instance of this token runs or starts; on failure none does, unless EC2 could not be
 * asked any more: then it joins, or is found by its tags, and is one host more.
 */
import type { Logger } from 'pino';
import type { LaunchRequest, ProviderHost } from '../provider.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import type { Ec2Offer } from './compose-offers.ts';
import { createFleet, type FleetOutcome, type OfferFault } from './create-fleet.ts';
import { Ec2CapacityError, Ec2QuotaError, errorOf, seeFault } from './ec2-errors.ts';
import type { Ec2Requests } from './ec2-requests.ts';
import type { Ec2Settings } from './ec2-settings.ts';
import { listInstances } from './instances.ts';
import { composeTemplate, templateNameOf } from './launch-template.ts';
import type { Ec2Market } from './market.ts';
import { type Ours, ownTags } from './own-tags.ts';
import { type Attempt, planAttempts } from './plan-attempts.ts';
import { composeUserData } from './user-data.ts';

export interface LaunchTools {
  readonly requests: Ec2Requests;
  readonly market: Ec2Market;
  readonly breaker: CircuitBreaker;
  readonly settings: Ec2Settings;
  readonly ours: Ours;
  readonly pool: { readonly id: string; readonly template: string };
  readonly now: () => number;
  readonly logger: Logger;
}

export async function launchHost(
  tools: LaunchTools,
  request: LaunchRequest,
  signal: AbortSignal,
): Promise<ProviderHost> {
  const known = await findLaunched(tools, request, signal);
  if (known !== undefined) return known;
  const attempts = await planLaunch(tools, request, signal);
  const first = attempts[0]?.offers[0];
  if (first === undefined)
    throw new Ec2CapacityError(`Nothing can be bought for the offer ${request.offerId} now.`);
  signal.throwIfAborted();
  await createTemplate(tools, request, first);
  try {
    const host = await tryAll(tools, request, attempts);
    if (!signal.aborted) return host;
    await terminateInstances(tools.requests, [host.machineId]);
    throw signal.reason;
  } finally {
    await deleteTemplate(tools, request);
  }
}

async function findLaunched(
  { requests, ours }: LaunchTools,
  { clientToken }: LaunchRequest,
  signal: AbortSignal,
): Promise<ProviderHost | undefined> {
  const found = await listInstances(requests, ours, { signal, clientToken });
  return found.find(({ host }) => host.state !== 'terminating')?.host;
}

async function planLaunch(
  { market, breaker, settings, now }: LaunchTools,
  { offerId, maxPricePerHourUsd }: LaunchRequest,
  signal: AbortSignal,
): Promise<readonly Attempt[]> {
  const offers = await market.offers(signal);
  const offer = offers.find(({ id }) => id === offerId);
  if (offer === undefined) return [];
  const { fallbacks } = settings;
  const maxUsdPerHour = maxPricePerHourUsd ?? offer.pricePerHourUsd;
  const isShut = ({ id }: Ec2Offer) => breaker.isOpen(id, now());
  return planAttempts({ offer, offers, fallbacks, maxUsdPerHour, isShut });
}

/** The first that has any. Throws what the first attempt met. */
async function tryAll(
  tools: LaunchTools,
  request: LaunchRequest,
  attempts: readonly Attempt[],
): Promise<ProviderHost> {
  let reason: Error | undefined;
  for (const attempt of attempts) {
    const outcome = await tryOne(tools, request, attempt);
    if (!(outcome instanceof Error)) return outcome;
    reason ??= outcome;
  }
  throw reason ?? new Ec2CapacityError(`EC2 sold nothing for the offer ${request.offerId}.`);
}

/** An error where another attempt may do better; throws where none can. */
async function tryOne(
  tools: LaunchTools,
  request: LaunchRequest,
  attempt: Attempt,
): Promise<ProviderHost | Error> {
  const { requests, market, breaker, ours, logger, now } = tools;
  const { clientToken } = request;
  const templateName = templateNameOf(ours, clientToken);
  const outcome = await orLacking(
    createFleet({ requests, market, attempt, templateName, clientToken }),
  );
  if (outcome instanceof Error) return outcome;
  for (const { offer, code } of outcome.faults) {
    logger.info({ offerId: offer.id, code }, 'EC2 does not sell this now');
    breaker.fail(offer.id, code, now());
  }
  if (outcome.surplus.length > 0) await terminateInstances(requests, outcome.surplus);
  const { bought } = outcome;
  if (bought === undefined) return whyNot(outcome.faults, request);
  breaker.succeed(bought.offer.id);
  return {
    machineId: bought.instanceId,
    offerId: bought.offer.id,
    state: 'launching',
    launchedAtMs: now(),
    capacity: bought.offer.capacity,
    pricePerHourUsd: bought.offer.pricePerHourUsd,
  };
}

/** EC2 may say that it has none for the call as a whole, too. */
async function orLacking(call: Promise<FleetOutcome>): Promise<FleetOutcome | Error> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Ec2CapacityError || error instanceof Ec2QuotaError) return error;
    throw error;
  }
}

function whyNot(faults: readonly OfferFault[], { offerId }: LaunchRequest): Error {
  const [first] = faults;
  if (first === undefined) return new Ec2CapacityError(`EC2 sold nothing for ${offerId}.`);
  return errorOf(first.fault, first.code, { what: `buy ${first.offer.id}` });
}

/** One of the same name is an earlier try's of the same launch. */
async function createTemplate(
  tools: LaunchTools,
  { clientToken, enrolmentToken }: LaunchRequest,
  { type }: Ec2Offer,
): Promise<void> {
  const { requests, settings, ours, pool } = tools;
  const { bootstrap, agentEnvironment } = settings;
  const { fleet } = ours;
  const userData = composeUserData({ fleet, enrolmentToken, bootstrap, agentEnvironment });
  const { virtualization } = type;
  const plan = { ours, pool: pool.id, generation: pool.template, clientToken, virtualization };
  await requests.run('make a launch template', undefined, async (call) => {
    try {
      await call.client.send(
        new call.sdk.CreateLaunchTemplateCommand({
          LaunchTemplateName: templateNameOf(ours, clientToken),
          LaunchTemplateData: composeTemplate({ ...plan, userData, settings }),
          TagSpecifications: [{ ResourceType: 'launch-template', Tags: ownTags(ours) }],
        }),
        { abortSignal: call.abortSignal },
      );
    } catch (error) {
      if (seeFault(error).fault !== 'exists') throw error;
    }
  });
}

/** What is left over here, the sweep finds. */
async function deleteTemplate(
  { requests, ours, logger }: LaunchTools,
  { clientToken }: LaunchRequest,
): Promise<void> {
  try {
    await requests.run('delete a launch template', undefined, (call) =>
      call.client.send(
        new call.sdk.DeleteLaunchTemplateCommand({
          LaunchTemplateName: templateNameOf(ours, clientToken),
        }),
        { abortSignal: call.abortSignal },
      ),
    );
  } catch (error) {
    logger.warn({ err: error }, 'a launch template is left for the sweep to delete');
  }
}

/** Idempotent for instances that are ending. Throws for one that EC2 does not know. */
export async function terminateInstances(
  requests: Ec2Requests,
  instanceIds: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  await requests.run('end instances', signal, (call) =>
    call.client.send(new call.sdk.TerminateInstancesCommand({ InstanceIds: [...instanceIds] }), {
      abortSignal: call.abortSignal,
    }),
  );
}
