/** The pool's image and template on this host, as the artifact keeper knows them. */
import type { ArtifactKeeper } from '../artifacts/artifact-keeper.ts';
import type { MachineShape } from '../protocol/artifact.ts';
import { type Refused, refused } from '../protocol/errors.ts';
import type { PoolSpec } from '../protocol/host-facts.ts';
import { judgePool } from './judge-pool.ts';

export interface OpenPool {
  readonly kind: 'open';
  readonly imageDir: string;
  readonly templateDir: string;
  readonly shape: MachineShape;
}

type Artifacts = Pick<ArtifactKeeper, 'state' | 'want'>;

/** Gets both under way if they are not here. */
export function wantPool(artifacts: Artifacts, pool: PoolSpec): void {
  artifacts.want(pool.image);
  artifacts.want(pool.template);
}

/** Refused while one of the two is not here, and when they are not what the pool says. */
export function openPool(artifacts: Artifacts, pool: PoolSpec): OpenPool | Refused {
  const image = artifacts.state(pool.image);
  const template = artifacts.state(pool.template);
  if (image.kind !== 'here' || template.kind !== 'here') {
    wantPool(artifacts, pool);
    return refused(
      `This host is still getting image and template of pool ${pool.id}.${whyOf(image)}${whyOf(template)}`,
    );
  }
  const parts = judgePool(pool, {
    image: image.opened.artifact,
    template: template.opened.artifact,
  });
  if (parts.kind === 'refused') return parts;
  const { shape } = parts.template;
  return { kind: 'open', imageDir: image.opened.dir, templateDir: template.opened.dir, shape };
}

function whyOf(state: { readonly kind: string; readonly why?: string }): string {
  return state.why === undefined ? '' : ` ${state.why}`;
}
