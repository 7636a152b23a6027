import { expect, test } from 'vitest';
import { qemuUser } from './qemu-user.ts';

test('a VM keeps its user, and others have others', () => {
  const users = Array.from({ length: 200 }, (_, index) => qemuUser(`vm-${index}`));
  expect(new Set(users).size).toBe(200);
  expect(users).toEqual(users.map((_, index) => qemuUser(`vm-${index}`)));
});

test('no user is one that a system gives away', () => {
  for (let index = 0; index < 1_000; index += 1) {
    const user = qemuUser(`vm-${index}`);
    expect(user).toBeGreaterThanOrEqual(0x7000_0000);
    expect(user).toBeLessThan(0x7fff_fffe);
  }
});
