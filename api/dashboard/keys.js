// The keyboard: one key an intent, and the list of them for who asks.

// key → [what it does, in words; the name of what is done]
export const KEYS = {
  "/": ["search", "search"],
  j: ["next call", "next"],
  k: ["call before", "previous"],
  Enter: ["open the call", "open"],
  Escape: ["close what is open", "close"],
  p: ["pause, or go on", "pause"],
  w: ["wall mode", "wall"],
  b: ["who is busy", "busiest"],
  m: ["mask numbers", "mask"],
  "?": ["these keys", "help"],
};

// `acts`: name → function. Keys typed into a field are that field's, but for Escape.
export function listen(acts) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const told = KEYS[event.key];
    if (told === undefined || document.querySelector("dialog[open]")) return;
    const { target } = event;
    const field = target.closest?.("input, select, textarea, button, a") ?? null;
    const typing = field !== null && !["BUTTON", "A"].includes(field.tagName);
    if (event.key === "Escape" && typing) field.blur();
    else if (typing || (field !== null && event.key === "Enter")) return;
    else acts[told[1]]();
    event.preventDefault();
  });
}

export function list(into) {
  into.replaceChildren(...Object.entries(KEYS).flatMap(([key, [words]]) => {
    const term = document.createElement("dt");
    term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    const told = document.createElement("dd");
    told.textContent = words;
    return [term, told];
  }));
}
