/**
 * The unprivileged user that a QEMU runs as: one per VM, so that a QEMU that its guest has taken over
 * owns no other VM's files and may signal no other QEMU. Numbers, not names: no passwd entry is
 * needed. The group has the same number.
 */
import { createHash } from 'node:crypto';

/** Above what systemd gives to containers, below what a signed 32-bit number holds (systemd, UIDS-GIDS). */
const FIRST_USER = 0x7000_0000;
const USERS = 0x0fff_fff0;

/** Only captures a template: a guest that has run nobody's job yet. */
export const CAPTURE_USER = 64_055;

/**
 * The same on every host and after every restart, so nothing has to be remembered. With 500 VMs on
 * a host, two share a user once in two thousand hosts.
 */
export function qemuUser(vmId: string): number {
  const hash = createHash('sha256').update(vmId).digest();
  return FIRST_USER + (hash.readUInt32BE(0) % USERS);
}
