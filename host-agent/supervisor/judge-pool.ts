/** Whether an image and a template are what a pool says they are. Pure. */
import type { Artifact, ImageArtifact, TemplateArtifact } from '../protocol/artifact.ts';
import { type Refused, refused } from '../protocol/errors.ts';
import type { PoolSpec } from '../protocol/host-facts.ts';

export interface PoolParts {
  readonly kind: 'fits';
  readonly image: ImageArtifact;
  readonly template: TemplateArtifact;
}

/** A template that does not fit its pool would not load, or worse, load and be wrong. */
export function judgePool(
  pool: PoolSpec,
  artifacts: { readonly image: Artifact; readonly template: Artifact },
): PoolParts | Refused {
  const { image, template } = artifacts;
  if (image.kind !== 'image') return refused(`The image of pool ${pool.id} is a ${image.kind}.`);
  if (template.kind !== 'template') {
    return refused(`The template of pool ${pool.id} is an ${template.kind}.`);
  }
  const { shape } = template;
  const differences = [
    difference('architecture', image.arch, pool.arch),
    difference('image', template.image, pool.image),
    difference('machine type', shape.machineType, pool.machineType),
    difference('accelerator', shape.accelerator, pool.accelerator),
    difference('CPU model', shape.cpuModel, pool.cpuModel),
  ].filter((text) => text !== undefined);
  if (differences.length === 0) return { kind: 'fits', image, template };
  return refused(`The template of pool ${pool.id} does not fit it: ${differences.join('; ')}.`);
}

function difference(what: string, has: string, wants: string): string | undefined {
  return has === wants ? undefined : `its ${what} is ${has}, the pool's is ${wants}`;
}
