// What an operator can do by a key or a button; `actions` are functions by name.

import { byId } from "../elements.js";
import { t } from "../text/catalogue.js";

// key → name of the action; the text `keys.` with this name describes it
export const KEYS = {
  "/": "search",
  j: "next",
  k: "previous",
  Enter: "open",
  Escape: "close",
  p: "pause",
  w: "wall",
  b: "topTalkers",
  m: "mask",
  "?": "help",
};

// id of a button → name of the action
const BUTTONS = {
  pause: "pause", wall: "wall", "show-top-talkers": "topTalkers", "show-help": "help",
  "show-settings": "settings", csv: "csv", json: "json",
};

// A key typed into a field belongs to the field, except Escape, which leaves it.
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const entry = KEYS[event.key];
    // The browser itself closes a dialog or a popover by Escape.
    if (entry === undefined || document.querySelector("dialog[open], :popover-open")) return;
    const field = event.target.closest?.("input, select, textarea, button, a") ?? null;
    const typing = field !== null && !["BUTTON", "A"].includes(field.tagName);
    if (event.key === "Escape" && typing) field.blur();
    else if (typing || (field !== null && event.key === "Enter")) return;
    else actions[entry]();
    event.preventDefault();
  });
  byId("keys").replaceChildren(...Object.entries(KEYS).flatMap(describe));
}

export function listenToButtons(actions) {
  for (const [id, name] of Object.entries(BUTTONS)) {
    byId(id).addEventListener("click", actions[name]);
  }
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
}

// The two elements of one key in the list of keys.
function describe([key, name]) {
  const term = document.createElement("dt");
  term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
  return [term, Object.assign(document.createElement("dd"), { textContent: t(`keys.${name}`) })];
}
