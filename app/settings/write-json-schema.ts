/** `npm run schema`: writes the JSON schemas into the repository. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jsonSchemas } from './json-schema.ts';

for (const [name, text] of Object.entries(jsonSchemas()))
  writeFileSync(join(import.meta.dirname, '../..', name), text);
