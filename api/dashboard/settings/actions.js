// What an operator can do by a key or a button; `actions` are functions by name.

import { byId } from "../elements.js";

// key → [description, name of the action]
export const KEYS = {
  "/": ["search", "search"],
  j: ["next call", "next"],
  k: ["previous call", "previous"],
  Enter: ["open the call", "open"],
  Escape: ["close what is open", "close"],
  p: ["pause or resume", "pause"],
  w: ["wall mode", "wall"],
  b: ["top talkers", "topTalkers"],
  m: ["mask numbers", "mask"],
  "?": ["show these keys", "help"],
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
    else actions[entry[1]]();
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
function describe([key, [text]]) {
  const term = document.createElement("dt");
  term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
  return [term, Object.assign(document.createElement("dd"), { textContent: text })];
}
