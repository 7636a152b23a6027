import type { Command } from 'commander';

const EXAMPLES = `
Example:
  architect demo --report /tmp/report.json`;

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('run one job from webhook to green, on this machine, with a simulated GitHub')
    .option('--report <file>', 'also write what happened as JSON')
    .option('--keep', 'leave everything running after the job, until Ctrl-C', false)
    .option('--json', 'print the report as JSON, and all else to standard error', false)
    .addHelpText('after', EXAMPLES)
    .action(async (options: { report?: string; keep: boolean; json: boolean }) => {
      const { runDemo } = await import('../../demo/run-demo.ts');
      await runDemo(options);
    });
}
