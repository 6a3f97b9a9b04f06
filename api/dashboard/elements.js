// Access to elements of the page.

export const byId = (id) => document.getElementById(id);

// Write a text only if it differs: an unchanged text costs the browser no layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
