/** The JSON schema of `architect.yaml`, for editors: `npm run schema` writes it. */
import { z } from 'zod';
import { Settings } from './settings.ts';

export const SCHEMA_FILE = 'architect.schema.json';

/** As it stands in the repository. */
export function settingsJsonSchema(): string {
  const schema = z.toJSONSchema(Settings, {
    target: 'draft-7',
    io: 'input',
    // zod's own word beside the pattern; no JSON schema format.
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === 'starts_with') delete jsonSchema.format;
    },
  });
  return `${JSON.stringify({ title: 'architect.yaml', ...schema }, null, 2)}\n`;
}
