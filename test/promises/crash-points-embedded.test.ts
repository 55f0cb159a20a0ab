import { tryCrashPoints } from './crash-points.ts'

tryCrashPoints('embedded')
