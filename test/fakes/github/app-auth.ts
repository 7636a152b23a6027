/**
 * The App's JSON web token, as GitHub checks it.
 * Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App".
 */
import { createPublicKey, verify } from 'node:crypto';
import { z } from 'zod';

const MAX_LIFE_SECONDS = 600;
/** Clocks differ. */
const SKEW_SECONDS = 60;

const Header = z.object({ alg: z.literal('RS256') });
const Claims = z.object({
  iat: z.number(),
  exp: z.number(),
  iss: z.union([z.string(), z.number()]),
});

export interface AppKey {
  readonly appId: number;
  readonly publicKey: string;
}

/** Undefined when the token is good, otherwise GitHub's message of why not. */
export function refuseAppToken(token: string, key: AppKey, now: number): string | undefined {
  const undecodable = 'A JSON web token could not be decoded';
  const [head = '', body = '', signature = '', ...rest] = token.split('.');
  const header = Header.safeParse(decode(head));
  const claims = Claims.safeParse(decode(body));
  if (!header.success || !claims.success || rest.length > 0) return undecodable;
  const signed = verify(
    'RSA-SHA256',
    Buffer.from(`${head}.${body}`),
    createPublicKey(key.publicKey),
    Buffer.from(signature, 'base64url'),
  );
  return signed ? refuseClaims(claims.data, key.appId, now / 1_000) : undecodable;
}

/** Whose token it says that it is; undefined for what is no App's token. */
export function claimedApp(token: string): number | undefined {
  const claims = Claims.safeParse(decode(token.split('.')[1] ?? ''));
  return claims.success ? Number(claims.data.iss) : undefined;
}

function refuseClaims(
  { iat, exp, iss }: z.infer<typeof Claims>,
  appId: number,
  nowSeconds: number,
): string | undefined {
  if (String(iss) !== String(appId)) return 'Integration not found';
  if (iat > nowSeconds + SKEW_SECONDS) {
    return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
  }
  if (exp <= nowSeconds) {
    return "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
  }
  return exp > nowSeconds + MAX_LIFE_SECONDS + SKEW_SECONDS
    ? "'Expiration time' claim ('exp') is too far in the future"
    : undefined;
}

function decode(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}
