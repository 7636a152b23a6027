/** What the doctor found, for a terminal: what is wrong last, since the end is what one sees. */
import type { Finding } from './doctor/finding.ts';

const ORDER: readonly Finding['state'][] = ['ok', 'warning', 'failed'];
const SIGNS = { ok: 'ok     ', warning: 'warning', failed: 'FAILED ' };

export function presentFindings(findings: readonly Finding[]): string {
  return ORDER.flatMap((state) => findings.filter((one) => one.state === state))
    .map(presentFinding)
    .join('\n');
}

function presentFinding({ check, state, what, fix }: Finding): string {
  const said = `${SIGNS[state]}  ${check}: ${indented(what)}`;
  return fix === null ? said : `${said}\n         → ${indented(fix)}`;
}

function indented(text: string): string {
  return text.replaceAll('\n', '\n         ');
}
