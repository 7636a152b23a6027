/** `npm run schema`: writes the JSON schema of `architect.yaml` into the repository. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SCHEMA_FILE, settingsJsonSchema } from './json-schema.ts';

writeFileSync(join(import.meta.dirname, '../..', SCHEMA_FILE), settingsJsonSchema());
