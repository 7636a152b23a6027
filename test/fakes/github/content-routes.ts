/** Files of a repository's default branch. */
import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { requireToken } from './caller.ts';
import { notFound } from './refusal.ts';
import type { Simulation } from './simulation.ts';
import { requirePermission } from './tokens.ts';

const Params = z.object({ owner: z.string(), repo: z.string(), '*': z.string() });

export function serveContents(server: FastifyInstance, simulation: Simulation): void {
  const { world } = simulation;
  server.get('/repos/:owner/:repo/contents/*', async (request) => {
    const token = requireToken(simulation, request);
    const { owner, repo, '*': path } = Params.parse(request.params);
    const repository = world.repository(owner, repo);
    if (repository.owner !== token.installation.account) throw notFound();
    requirePermission(token, 'contents', 'read');
    const text = repository.files?.get(path);
    if (text === undefined) throw notFound();
    const url = `${world.url}/repos/${owner}/${repo}/contents/${path}`;
    const sha = createHash('sha1').update(text).digest('hex');
    const link = { git_url: url, html_url: url, download_url: url };
    return {
      ...{ type: 'file', name: path.split('/').at(-1) ?? path, path, sha, url, ...link },
      ...{ size: Buffer.byteLength(text), encoding: 'base64' },
      content: Buffer.from(text).toString('base64'),
      _links: { self: url, git: url, html: url },
    };
  });
}
