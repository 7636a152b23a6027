/** GitHub's error answers: a status and {message, documentation_url, status}. */
import type { z } from 'zod';

export interface RefusalDetail {
  readonly status: number;
  readonly message: string;
  readonly page?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly errors?: readonly string[];
}

/** Thrown inside a route and turned into the answer by the server's error handler. */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;

  constructor({ status, message, page = '', headers = {}, errors }: RefusalDetail) {
    super(message);
    this.status = status;
    this.headers = headers;
    this.body = {
      message,
      ...(errors === undefined ? {} : { errors }),
      documentation_url: `https://docs.github.com/rest${page}`,
      status: String(status),
    };
  }
}

export function notFound(): Refusal {
  return new Refusal({ status: 404, message: 'Not Found' });
}

export function badCredentials(message = 'Bad credentials'): Refusal {
  return new Refusal({ status: 401, message });
}

export function notAccessible(): Refusal {
  return new Refusal({ status: 403, message: 'Resource not accessible by integration' });
}

export function unprocessable(message: string, errors?: readonly string[]): Refusal {
  const detail = { status: 422, message: `Validation Failed: ${message}` };
  return new Refusal(errors === undefined ? detail : { ...detail, errors });
}

/** Each thing that is wrong with a body, for the answer's `errors`. */
export function invalidBody({ issues }: z.ZodError): Refusal {
  const errors = issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  return unprocessable(errors.join('; '), errors);
}
