/** Sums with three colours. */

export type Triple = [number, number, number]
/** Rows. */
export type Matrix = [Triple, Triple, Triple]

export function times([a, b, c]: Matrix, [x, y, z]: Triple): Triple {
  const row = ([p, q, r]: Triple) => p * x + q * y + r * z
  return [row(a), row(b), row(c)]
}

export function transposed([a, b, c]: Matrix): Matrix {
  return [
    [a[0], b[0], c[0]],
    [a[1], b[1], c[1]],
    [a[2], b[2], c[2]],
  ]
}

/** `left` after `right`. */
export function product(left: Matrix, right: Matrix): Matrix {
  const [a, b, c] = transposed(right)
  return transposed([times(left, a), times(left, b), times(left, c)])
}

export function diagonal([x, y, z]: Triple): Matrix {
  return [
    [x, 0, 0],
    [0, y, 0],
    [0, 0, z],
  ]
}

export function inverse([a, b, c]: Matrix): Matrix {
  const [bc, ca, ab] = [cross(b, c), cross(c, a), cross(a, b)]
  const determinant = a[0] * bc[0] + a[1] * bc[1] + a[2] * bc[2]
  const scaled = ([x, y, z]: Triple): Triple => [x / determinant, y / determinant, z / determinant]
  return transposed([scaled(bc), scaled(ca), scaled(ab)])
}

function cross([a, b, c]: Triple, [x, y, z]: Triple): Triple {
  return [b * z - c * y, c * x - a * z, a * y - b * x]
}
