/** What the API, the CLI and GitHub are told; package.json's. */
export const VERSION = '0.1.0';
