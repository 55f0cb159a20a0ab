/** Icons on a grid of 24. All stand next to text, so they are hidden from screen readers. */
import type { ComponentChildren } from 'preact'

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      {children}
    </svg>
  )
}

export const Globe = () => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M3.5 12h17M12 3.5c5 5.5 5 11.5 0 17c-5-5.5-5-11.5 0-17" />
  </Icon>
)
export const Lock = () => (
  <Icon>
    <rect x="5" y="11" width="14" height="9" rx="2" />
    <path d="M8 11V8a4 4 0 0 1 8 0v3" />
  </Icon>
)
export const Bin = () => (
  <Icon>
    <path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5" />
  </Icon>
)
export const Restore = () => (
  <Icon>
    <path d="M4 9h10a5 5 0 0 1 0 10H8M8 5L4 9l4 4" />
  </Icon>
)
export const Close = () => (
  <Icon>
    <path d="M6 6l12 12M18 6L6 18" />
  </Icon>
)
export const Previous = () => (
  <Icon>
    <path d="M15 5l-7 7 7 7" />
  </Icon>
)
export const Next = () => (
  <Icon>
    <path d="M9 5l7 7-7 7" />
  </Icon>
)
export const Play = () => (
  <Icon>
    <path d="M8 5.5v13l11-6.5z" />
  </Icon>
)
export const Paper = () => (
  <Icon>
    <path d="M6 3h8l4 4v14H6zM14 3v4h4" />
  </Icon>
)
export const Picture = () => (
  <Icon>
    <rect x="3.5" y="5" width="17" height="14" rx="2.5" />
    <path d="M4 17l5-5 4 4 3-3 4 4" />
    <circle cx="15.5" cy="9.5" r="1.5" />
  </Icon>
)
export const Logo = () => <img class="logo" src="console/icon.svg" alt="" />
