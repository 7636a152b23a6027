/**
 * Where a job finds the guest API: the same in every VM on every host, so that it stays where it is
 * when the VM moves. Plain constants: the action imports them from a bare checkout.
 */

/** Of the VM's gateway, on its own link. */
export const GUEST_API_ADDRESS = '169.254.1.1';
export const GUEST_API_PORT = 8042;
