/** The enrolment token, as an argument or, so that no process list shows it, on standard input. */
import { CliError } from '../cli-error.ts';

const MAX_TOKEN_CHARACTERS = 4_096;

/** `-` reads `input` to its end. Throws CliError when that holds more than any token has. */
export async function readJoinToken(
  argument: string,
  input: AsyncIterable<Buffer | string>,
): Promise<string> {
  if (argument !== '-') return argument;
  let text = '';
  for await (const part of input) {
    text += part.toString();
    if (text.length > MAX_TOKEN_CHARACTERS) throw new CliError('Standard input holds no token.');
  }
  return text.trim();
}
