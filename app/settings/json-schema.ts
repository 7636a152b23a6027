/** The JSON schemas of `architect.yaml` and of a repository's file, for editors: `npm run schema` writes them. */
import { z } from 'zod';
import { REPOSITORY_FILE, RepositoryFile } from '../labels/repository-file.ts';
import { Settings } from './settings.ts';

/** By name, each as it stands in the repository. */
export function jsonSchemas(): Readonly<Record<string, string>> {
  return {
    'architect.schema.json': schemaOf('architect.yaml', Settings),
    'architect-repository.schema.json': schemaOf(REPOSITORY_FILE, RepositoryFile),
  };
}

function schemaOf(title: string, type: z.ZodType): string {
  const schema = z.toJSONSchema(type, {
    target: 'draft-7',
    io: 'input',
    // zod's own word beside the pattern; no JSON schema format.
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === 'starts_with') delete jsonSchema.format;
    },
  });
  return `${JSON.stringify({ title, ...schema }, null, 2)}\n`;
}
