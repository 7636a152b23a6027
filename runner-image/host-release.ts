/** Which distribution a machine runs (os-release(5)). */
export interface HostRelease {
  /** `debian`, `ubuntu`; empty where the file does not say. */
  readonly id: string;
  /** `bookworm`, `trixie`, `noble`; empty where the file does not say. */
  readonly codename: string;
}

export function parseOsRelease(text: string): HostRelease {
  const field = (name: string) => new RegExp(`^${name}="?([a-z]+)"?$`, 'm').exec(text)?.[1] ?? '';
  return { id: field('ID'), codename: field('VERSION_CODENAME') };
}
