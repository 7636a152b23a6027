/**
 * What a metadata service's answer means, the same for all clouds. A topic is one thing that is asked
 * for by itself, such as EC2's `spot/instance-action`; each topic holds one notice or none.
 */
import type { NoticeKind } from '../protocol/host-notice.ts';

/** As it came over HTTP; header names are in lower case. */
export interface MetadataAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface SaidNotice {
  readonly kind: NoticeKind;
  /** Tells one notice from the next: the same key is the same notice, seen again. */
  readonly key: string;
  /** When the host goes away, by the cloud's clock; undefined where it does not say. */
  readonly atMs: number | undefined;
}

export type TopicAnswer =
  | { readonly kind: 'none' }
  | { readonly kind: 'said'; readonly said: SaidNotice }
  /** The credential that was sent is no longer good: get another and ask again. */
  | { readonly kind: 'token-refused' }
  /** Says nothing about notices, in either direction: what was known before still holds. */
  | { readonly kind: 'unusable'; readonly why: string };

const SHOWN_CHARACTERS = 80;

export function unusable({ status, body }: MetadataAnswer): TopicAnswer {
  const shown = JSON.stringify(body.slice(0, SHOWN_CHARACTERS));
  return { kind: 'unusable', why: `the answer was ${status} ${shown}` };
}

/** Undefined where the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The service's own clock, from its Date header (whole seconds). Undefined without a usable one. */
export function serviceClockMs({ headers }: MetadataAnswer): number | undefined {
  const parsed = Date.parse(headers.date ?? '');
  return Number.isNaN(parsed) ? undefined : parsed;
}
