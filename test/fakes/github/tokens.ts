/** Installation access tokens: they expire, and may hold less than the installation's permissions. */
import { randomBytes } from 'node:crypto';
import type { Installation, Repository } from './model.ts';
import type { Access, Permissions } from './options.ts';
import { badCredentials, notAccessible, Refusal, unprocessable } from './refusal.ts';
import type { World } from './world.ts';

export interface AccessToken {
  readonly token: string;
  readonly installation: Installation;
  readonly permissions: Permissions;
  /** Undefined: all of the installation's. */
  readonly repositories: readonly Repository[] | undefined;
  readonly expiresAtMs: number;
}

export interface TokenScope {
  readonly permissions: Permissions | undefined;
  readonly repositories: readonly Repository[] | undefined;
}

export class Tokens {
  readonly #world: World;
  readonly #tokens = new Map<string, AccessToken>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Throws the 422 answer for permissions that the installation was not granted. */
  create(installation: Installation, { permissions, repositories }: TokenScope): AccessToken {
    for (const [name, access] of Object.entries(permissions ?? {})) {
      if (!allows(installation.permissions, name, access)) {
        throw unprocessable('The permissions requested are not granted to this installation.');
      }
    }
    const token = {
      token: `ghs_${randomBytes(18).toString('hex')}`,
      installation,
      permissions: permissions ?? installation.permissions,
      repositories,
      expiresAtMs: Date.now() + this.#world.options.durations.tokenMs,
    };
    this.#tokens.set(token.token, token);
    return token;
  }

  expireAll(): void {
    this.#tokens.clear();
  }

  /** Undefined for what is no token, or not good any more. */
  installationOf(token: string): number | undefined {
    return this.#tokens.get(token)?.installation.id;
  }

  /** Throws the 401 or 403 answer. */
  check(token: string): AccessToken {
    const known = this.#tokens.get(token);
    if (known === undefined || known.expiresAtMs <= Date.now()) throw badCredentials();
    const { installation } = known;
    if (!this.#world.installations.has(installation.id)) throw badCredentials();
    if (installation.suspendedAtMs !== undefined) throw suspended();
    return known;
  }
}

/** Throws the 403 answer. What the installation lost, its tokens lose. */
export function requirePermission(token: AccessToken, name: string, access: Access): void {
  const held = allows(token.permissions, name, access);
  if (!held || !allows(token.installation.permissions, name, access)) throw notAccessible();
}

export function suspended(): Refusal {
  return new Refusal({ status: 403, message: 'This installation has been suspended' });
}

function allows(permissions: Permissions, name: string, access: Access): boolean {
  const held = permissions[name];
  return held === 'write' || (held === 'read' && access === 'read');
}
