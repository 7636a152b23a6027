/** A watcher under test, and all that it said. */
import { pino } from 'pino';
import { type NoticeMode, watchNotices } from '../../../host-agent/notices/watch-notices.ts';
import type { HostNotice } from '../../../host-agent/protocol/host-notice.ts';
import { until } from '../local-provider/until.ts';

export interface Watching extends AsyncDisposable {
  readonly said: readonly (HostNotice | null)[];
  /** Waits until the last thing said is of this kind; null: that there is no notice. */
  last(kind: HostNotice['kind'] | null): Promise<HostNotice | null>;
}

export function startWatching(options: {
  readonly metadataUrl: string;
  readonly mode: NoticeMode;
  /** How far this host's clock is ahead. */
  readonly aheadMs?: number;
}): Watching {
  const { metadataUrl, mode, aheadMs = 0 } = options;
  const end = new AbortController();
  const said: (HostNotice | null)[] = [];
  const ended = watchNotices({
    mode,
    metadataUrl,
    nowMs: () => Date.now() + aheadMs,
    logger: pino({ level: 'silent' }),
    signal: end.signal,
    onNotice: (notice) => said.push(notice),
  });
  return {
    said,
    last: (kind) =>
      until(`a notice: ${kind}`, () => {
        const notice = said.at(-1);
        if (notice === undefined) return undefined;
        return (notice?.kind ?? null) === kind ? { notice } : undefined;
      }).then(({ notice }) => notice),
    [Symbol.asyncDispose]: async () => {
      end.abort();
      await ended;
    },
  };
}
