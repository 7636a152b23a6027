/**
 * Time for GitHub's durations: the simulated GitHub, its client and the control plane all read this
 * clock, so an hour's token, a minute's points and a pause of seconds keep their proportions. Timers,
 * Redis and the processor go on at their own pace.
 */
import { vi } from 'vitest';

/** Until `vi.unstubAllGlobals`; the last one counts. */
export function hastenClock(factor: number): void {
  vi.unstubAllGlobals();
  const RealDate = Date;
  const beganMs = RealDate.now();
  const nowMs = () => Math.round(beganMs + (RealDate.now() - beganMs) * factor);
  const given = (args: readonly unknown[]) => (args.length === 0 ? [nowMs()] : args);
  vi.stubGlobal(
    'Date',
    new Proxy(RealDate, {
      construct: (target, args, newTarget) => Reflect.construct(target, given(args), newTarget),
      get: (target, name, receiver) =>
        name === 'now' ? nowMs : Reflect.get(target, name, receiver),
    }),
  );
}
