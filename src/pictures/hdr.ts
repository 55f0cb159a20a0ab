/** High dynamic range on a display without it, as Chromium shows it. Light of 1 is the white of a page. */
import type { Triple } from './matrix.ts'

// In cd/m²: white (ITU-R BT.2408), and the brightest light that is told apart from less.
const WHITE = 203
const BRIGHTEST = 1000

// SMPTE ST 2084.
const PQ_LIGHT = 10_000
const M1 = 2610 / 16_384
const M2 = 2523 / 32
const C1 = 3424 / 4096
const C2 = 2413 / 128
const C3 = 2392 / 128

export function pqLight(codes: Triple): Triple {
  return each(codes, (code) => {
    const power = code ** (1 / M2)
    return (PQ_LIGHT / WHITE) * (Math.max(0, power - C1) / (C2 - C3 * power)) ** (1 / M1)
  })
}

// ITU-R BT.2100.
const A = 0.17883277
const B = 0.28466892
const C = 0.55991073
const SYSTEM_GAMMA = 1.2

/** Of HLG on a display of 1000 cd/m². */
export function hlgLight(codes: Triple): Triple {
  const scene = each(codes, (code) => (code <= 0.5 ? code ** 2 / 3 : (Math.exp((code - C) / A) + B) / 12))
  const luminance = 0.2627 * scene[0] + 0.678 * scene[1] + 0.0593 * scene[2]
  const gain = luminance > 0 ? (BRIGHTEST / WHITE) * luminance ** (SYSTEM_GAMMA - 1) : 0
  return each(scene, (light) => light * gain)
}

/** Of 0 to 1: the brightest of the colours decides, so that hues stay. */
export function toneMapped(light: Triple): Triple {
  const most = Math.max(...light)
  const scale = most > 0 ? shown(most) / most : 0
  return each(light, (one) => one * scale)
}

// Half of a display's light is white, the rest for what is brighter: a quadratic Bezier curve (SMPTE ST 2094-50).
const KNEE = { x: 1, y: 0.5 }
const END = { x: BRIGHTEST / WHITE, y: 1 }
const CONTROL = { x: 0.35 * KNEE.x + (0.65 * KNEE.x) / KNEE.y, y: 0.35 * KNEE.y + 0.65 * END.y }

function shown(light: number): number {
  if (light <= KNEE.x) return light * KNEE.y
  if (light >= END.x) return END.y
  const a = KNEE.x - 2 * CONTROL.x + END.x
  const b = CONTROL.x - KNEE.x
  const t = (Math.sqrt(b * b + a * (light - KNEE.x)) - b) / a
  return (1 - t) ** 2 * KNEE.y + 2 * t * (1 - t) * CONTROL.y + t * t * END.y
}

function each([a, b, c]: Triple, of: (one: number) => number): Triple {
  return [of(a), of(b), of(c)]
}
