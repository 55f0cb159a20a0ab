/** Where each coded pixel of an AVIF or HEIC is shown, after crops, turns and mirrorings. Pure. */

export type Transform =
  /** Clockwise, in quarters of a full turn. */
  | { kind: 'turn'; quarters: number }
  | { kind: 'mirror'; swaps: 'sides' | 'top and bottom' }
  /** Keeps so much of the picture around a point, which is given from the picture's centre. In pixels. */
  | { kind: 'crop'; width: number; height: number; fromCentre: { x: number; y: number } }

type Rectangle = { left: number; top: number; width: number; height: number }

/**
 * The part of the coded picture that is shown: mirrored at its vertical axis or not, then turned clockwise.
 * `width`, `height`: as shown.
 */
export type Placement = { part: Rectangle; mirrored: boolean; quarters: number; width: number; height: number }

/** @param size of the coded picture */
export function place({ width, height }: { width: number; height: number }, transforms: Transform[]): Placement {
  const whole = { part: { left: 0, top: 0, width, height }, mirrored: false, quarters: 0, width, height }
  return transforms.reduce(apply, whole)
}

/** The index, among the shown pixels, of the coded pixel at `x`, `y`, counted from the corner of the shown part. */
export function indexOf({ part, mirrored, quarters, width }: Placement, x: number, y: number): number {
  const [right, bottom] = [part.width - 1, part.height - 1]
  const across = mirrored ? right - x : x
  if (quarters === 0) return y * width + across
  if (quarters === 1) return across * width + (bottom - y)
  if (quarters === 2) return (bottom - y) * width + (right - across)
  return (right - across) * width + y
}

function apply(placement: Placement, transform: Transform): Placement {
  const { mirrored, quarters, width, height } = placement
  if (transform.kind === 'crop') return crop(placement, transform)
  if (transform.kind === 'mirror') {
    // To mirror after a turn is to mirror first, and to turn the other way.
    const turned = transform.swaps === 'sides' ? -quarters : 2 - quarters
    return { ...placement, mirrored: !mirrored, quarters: (turned + 4) % 4 }
  }
  const sides = transform.quarters % 2 === 1 ? { width: height, height: width } : { width, height }
  return { ...placement, ...sides, quarters: (quarters + transform.quarters) % 4 }
}

/** Rounds as libheif (1.23) does. A crop that leaves nothing is ignored. */
function crop(placement: Placement, { fromCentre, ...kept }: Extract<Transform, { kind: 'crop' }>): Placement {
  const [left, width] = spanOf(placement.width, kept.width, fromCentre.x)
  const [top, height] = spanOf(placement.height, kept.height, fromCentre.y)
  if (!(width > 0 && height > 0)) return placement
  return { ...placement, part: codedOf(placement, { left, top, width, height }), width, height }
}

/** What is beyond the picture is cut off. */
function spanOf(side: number, kept: number, fromCentre: number): [start: number, length: number] {
  const start = Math.floor((side - 1) / 2 + fromCentre - (kept - 1) / 2)
  const first = Math.max(0, start)
  return [first, Math.min(side, start + Math.round(kept)) - first]
}

/** The coded rectangle of a shown one. */
function codedOf({ part, mirrored, quarters, width, height }: Placement, shown: Rectangle): Rectangle {
  const right = width - shown.left - shown.width
  const bottom = height - shown.top - shown.height
  // The margins around it in order, clockwise from the left, as they are after the turn.
  const margins = [shown.left, shown.top, right, bottom]
  const [before = 0, above = 0, after = 0, below = 0] = margins.map((_, side) => margins[(side + quarters) % 4] ?? 0)
  const left = mirrored ? after : before
  return {
    left: part.left + left,
    top: part.top + above,
    width: part.width - before - after,
    height: part.height - above - below,
  }
}
