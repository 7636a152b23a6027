/**
 * EC2's wire format: a form of flat names in (`Filter.1.Value.2=x`), XML out. Only what the fake needs.
 * https://docs.aws.amazon.com/AWSEC2/latest/APIReference/making-api-requests.html
 */

/** What was sent, by its flat names. */
export class QueryForm {
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values;
  }

  static parse(body: string): QueryForm {
    return new QueryForm(new Map(new URLSearchParams(body)));
  }

  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** `Filter` → the forms below `Filter.1`, `Filter.2` … */
  list(name: string): readonly QueryForm[] {
    const found: QueryForm[] = [];
    for (let n = 1; ; n += 1) {
      const below = this.below(`${name}.${n}`);
      if (below === undefined) return found;
      found.push(below);
    }
  }

  /** `Value` → what stands in `Value.1`, `Value.2` … */
  texts(name: string): readonly string[] {
    return this.list(name).flatMap((form) => form.get('') ?? []);
  }

  below(prefix: string): QueryForm | undefined {
    const entries = [...this.#values].flatMap(([name, value]): [string, string][] => {
      if (name === prefix) return [['', value]];
      return name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), value]] : [];
    });
    return entries.length === 0 ? undefined : new QueryForm(new Map(entries));
  }

  /** The first parts of all names, without numbers. */
  get names(): readonly string[] {
    return [...new Set([...this.#values.keys()].map((name) => name.split('.')[0] ?? ''))];
  }

  /** The same for the same request, whatever the order of its names. */
  get fingerprint(): string {
    return JSON.stringify([...this.#values].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

export type Xml =
  | string
  | number
  | boolean
  | undefined
  | readonly Xml[]
  | { readonly [name: string]: Xml };

/** An array becomes `<item>` after `<item>`, as EC2 writes lists. */
export function toXml(value: Xml): string {
  if (value === undefined) return '';
  if (isList(value)) return value.map((one) => `<item>${toXml(one)}</item>`).join('');
  if (typeof value !== 'object') return escapeXml(String(value));
  return Object.entries(value)
    .map(([name, inner]) => (inner === undefined ? '' : `<${name}>${toXml(inner)}</${name}>`))
    .join('');
}

export function answerXml(action: string, body: Xml): string {
  const inner = `<requestId>fake</requestId>${toXml(body)}`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">${inner}</${action}Response>`;
}

export function errorXml(code: string, message: string): string {
  const error = `<Error><Code>${escapeXml(code)}</Code><Message>${escape(message)}</Message></Error>`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors>${error}</Errors><RequestID>fake</RequestID></Response>`;
}

function isList(value: Xml): value is readonly Xml[] {
  return Array.isArray(value);
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
