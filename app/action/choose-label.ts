/** From the action's inputs to the label that later jobs run on. Pure. */
import { type Refused, refused } from '../../host-agent/protocol/errors.ts';
import { parseLabel, printLabel } from '../labels/grammar.ts';

/** The inputs of action.yml that stand in a label. */
export const LABEL_INPUTS = [
  'class',
  'cpu',
  'ram',
  'disk',
  'arch',
  'spot',
  'rewind',
  'rerun',
  'key',
] as const;

export type ChosenLabel = { readonly kind: 'chosen'; readonly label: string } | Refused;

/** An input that is not given is empty. Whether the operator allows it, only the operator knows. */
export function chooseLabel(input: (name: string) => string): ChosenLabel {
  if (input('gpu') !== '')
    return refused('The input "gpu" is not offered: there are no such hosts.');
  const given = LABEL_INPUTS.flatMap((name) => {
    const value = input(name);
    return value === '' ? [] : [{ name, value }];
  });
  const sly = given.find(({ value }) => /[/=\s]/.test(value));
  if (sly !== undefined)
    return refused(`The input "${sly.name}" holds a slash, an equals sign or a space.`);
  const parsed = parseLabel(
    ['architect', ...given.map(({ name, value }) => `${name}=${value}`)].join('/'),
  );
  if (parsed.kind === 'parsed') return { kind: 'chosen', label: printLabel(parsed.request) };
  return refused(parsed.kind === 'refused' ? parsed.why : 'The inputs make no label.');
}
