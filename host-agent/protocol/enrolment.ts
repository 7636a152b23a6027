/**
 * How a machine becomes a host. `architect host join TOKEN` (and the local provider) hand the agent
 * one string. It names the control plane's agent endpoint, pins its CA, and holds a secret that is
 * good for one use. The agent makes a key pair (P-256), sends a PKCS#10 request, and gets its own
 * client certificate; the secret is worthless from then on.
 *
 *   POST {url}/enrol          EnrolRequest → 200 EnrolResponse | 401 unknown, used or expired token
 *   GET  {url}/artifacts/D/F  client certificate → 200, file F of artifact D (its folder name, see
 *                             artifact.ts) as one zstd stream
 *   GET  {url}/agent          client certificate → WebSocket (messages.ts)
 *   GET  {url}/gateway        client certificate of a gateway → WebSocket (gateway-messages.ts)
 */
import { z } from 'zod';
import { HostId } from './ids.ts';

export const AgentRole = z.enum(['host', 'gateway']);
export type AgentRole = z.infer<typeof AgentRole>;

/** The decoded token. Encoded, it is `architect_` and the base64url of this as JSON. */
export const EnrolmentToken = z.object({
  url: z.url(),
  /** SHA-256 of the CA certificate's DER, hexadecimal. */
  caSha256: z.string().regex(/^[0-9a-f]{64}$/),
  secret: z.string().min(32).max(128),
  /** What the machine becomes; the control plane knows, this only tells the machine. */
  role: AgentRole.optional(),
});
export type EnrolmentToken = Readonly<z.infer<typeof EnrolmentToken>>;

const PREFIX = 'architect_';

export function encodeEnrolmentToken(token: EnrolmentToken): string {
  return PREFIX + Buffer.from(JSON.stringify(token)).toString('base64url');
}

/** Gives undefined for a string that is no token: the caller says where it came from. */
export function decodeEnrolmentToken(text: string): EnrolmentToken | undefined {
  if (!text.startsWith(PREFIX)) return undefined;
  const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url');
  try {
    return EnrolmentToken.safeParse(JSON.parse(bytes.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

export const EnrolRequest = z.object({
  secret: z.string().max(128),
  /** PEM, PKCS#10. Its subject is ignored: the control plane chooses the host's id. */
  csrPem: z.string().max(8192),
  hostname: z.string().max(253),
});
export type EnrolRequest = Readonly<z.infer<typeof EnrolRequest>>;

export const EnrolResponse = z.object({
  hostId: HostId,
  certificatePem: z.string().max(16384),
  caPem: z.string().max(16384),
});
export type EnrolResponse = Readonly<z.infer<typeof EnrolResponse>>;
