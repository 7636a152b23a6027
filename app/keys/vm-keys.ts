/**
 * Each VM has a key of its own, which its chunks are sealed with. It is random, goes to agents with
 * the requests that need it, and is kept only wrapped: AES-256-GCM under the master key, with the
 * VM's id as associated data, so that one VM's wrapped key is worth nothing as another's.
 *
 *   wrapped = base64( version (1 byte) ‖ nonce (12) ‖ sealed key (32) ‖ tag (16) )
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { ArchitectError } from '../../host-agent/protocol/errors.ts';
import type { VmId } from '../../host-agent/protocol/ids.ts';
import type { VmKey } from '../../host-agent/protocol/migration-messages.ts';
import { KEY_BYTES } from './master-key.ts';

const CIPHER = 'aes-256-gcm';
const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const WRAPPED_BYTES = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

export class VmKeyError extends ArchitectError {
  readonly code = 'VM_KEY';
  readonly retry = 'never';
}

export class VmKeys {
  readonly #masterKey: Buffer;

  constructor(masterKey: Buffer) {
    this.#masterKey = masterKey;
  }

  /** A fresh key for this VM. `plain` is a secret: it goes to agents and nowhere else. */
  issue(vmId: VmId): VmKey {
    const plain = randomBytes(KEY_BYTES);
    return { plain: plain.toString('base64'), wrapped: this.#wrap(vmId, plain) };
  }

  /** Throws VmKeyError for what was wrapped for another VM, under another master key, or changed. */
  unwrap(vmId: VmId, wrapped: string): VmKey {
    const bytes = Buffer.from(wrapped, 'base64');
    if (bytes.length !== WRAPPED_BYTES || bytes[0] !== VERSION) throw unreadable(vmId);
    const sealedAt = 1 + NONCE_BYTES;
    const tagAt = sealedAt + KEY_BYTES;
    const decipher = createDecipheriv(CIPHER, this.#masterKey, bytes.subarray(1, sealedAt), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(vmId));
    decipher.setAuthTag(bytes.subarray(tagAt));
    try {
      const plain = Buffer.concat([
        decipher.update(bytes.subarray(sealedAt, tagAt)),
        decipher.final(),
      ]);
      return { plain: plain.toString('base64'), wrapped };
    } catch (cause) {
      throw unreadable(vmId, cause);
    }
  }

  #wrap(vmId: VmId, plain: Buffer): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#masterKey, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.from(vmId));
    const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
    return Buffer.concat([Buffer.of(VERSION), nonce, sealed, cipher.getAuthTag()]).toString(
      'base64',
    );
  }
}

function unreadable(vmId: VmId, cause?: unknown): VmKeyError {
  return new VmKeyError(
    `The key of the VM ${vmId} cannot be unwrapped: this data folder's master.key is not the one it was wrapped with.`,
    { cause, context: { vmId } },
  );
}
