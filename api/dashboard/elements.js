// Access to elements of the page.

export const byId = (id) => document.getElementById(id);

// Write a text only if it differs: an unchanged text costs the browser no layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const LEAST_PX = 220; // of a menu that can be read

// Put a popover below an element of which `box` is the place on the screen, or, where there is no room
// below, over it. CSSOM, because the policy allows no style attribute.
export function placeBelow(popover, box) {
  const top = Math.max(4, Math.min(Math.round(box.bottom) + 4, innerHeight - LEAST_PX));
  popover.style.top = `${top}px`;
  popover.style.setProperty("--top", `${top + 8}px`);
}
