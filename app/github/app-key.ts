/** The App's private key, before GitHub is asked anything with it. */
import { createPrivateKey } from 'node:crypto';

export const NEW_KEY_ADVICE =
  "Make a new key on the App's page, and put the .pem that it downloads there.";

/** Whether the text is a private key that signs: PEM, and not encrypted. */
export function holdsPrivateKey(pem: string): boolean {
  try {
    createPrivateKey(pem);
    return true;
  } catch {
    return false;
  }
}
