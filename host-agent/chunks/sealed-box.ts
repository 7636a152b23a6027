/**
 * AES-256-GCM with a random nonce: nonce, ciphertext, tag. Random 96-bit nonces are safe for 2^32
 * boxes under one key (NIST SP 800-38D, 8.3); a VM with as many chunks would hold 256 TiB.
 */
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What a box is longer than its content. */
export const BOX_OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES;

export interface BoxInput {
  readonly key: KeyObject;
  /** Authenticated with the content, and not part of the box. */
  readonly associated: Buffer;
  readonly content: readonly Buffer[];
}

export function sealBox({ key, associated, content }: BoxInput): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associated);
  const parts = content.map((part) => cipher.update(part));
  return Buffer.concat([nonce, ...parts, cipher.final(), cipher.getAuthTag()]);
}

/** The content, or undefined when the box, the key or the associated data is not the right one. */
export function openBox(key: KeyObject, associated: Buffer, box: Buffer): Buffer | undefined {
  if (box.length < BOX_OVERHEAD_BYTES) return undefined;
  const nonce = box.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associated);
  decipher.setAuthTag(box.subarray(box.length - TAG_BYTES));
  const content = decipher.update(box.subarray(NONCE_BYTES, box.length - TAG_BYTES));
  try {
    // A stream cipher holds nothing back: there is no more than this, and only its tag is looked at.
    decipher.final();
    return content;
  } catch {
    return undefined;
  }
}
