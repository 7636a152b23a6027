import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openCertificateAuthority } from './certificate-authority.ts';

const NOW = Date.parse('2026-11-25');

test.each(['key.pem', 'certificate.pem'])(
  'a damaged %s is told, and not made anew',
  async (name) => {
    const dir = await mkdtemp(join(tmpdir(), 'architect-authority-'));
    onTestFinished(() => rm(dir, { recursive: true }));
    const { sha256 } = await openCertificateAuthority(dir, NOW);
    expect((await openCertificateAuthority(dir, NOW)).sha256).toBe(sha256);
    expect(await readdir(dir)).toContain(name);
    await writeFile(join(dir, name), 'x');
    await expect(openCertificateAuthority(dir, NOW)).rejects.toThrow(
      /is damaged. Restore it from a backup, or move the folder away: every host/,
    );
  },
);
