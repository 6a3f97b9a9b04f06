// Links to a filtered view: real addresses, which a browser can open in another tab. A plain click
// changes the view in place, so the stream goes on and the table is never empty in between.

import { written } from "./table/values.js";
import { plain } from "./text/text.js";

const OF_ONE_VIEW = ["call", "call_id", "since", "panel", "code"];
const NAMES = new Set(["company_id", "trunk", "node"]); // of filters, and may have commas

// Filters beside the company: figures of tiles and top talkers are not narrowed by them.
const NO_FILTERS = {
  state: null, trunk: null, direction: null, node: null, longer: null, why: null, q: null,
};
// The same `changes` with no other filter but the company's, so that a figure leads to as many calls.
export const alone = (changes) => ({ ...NO_FILTERS, ...changes });

// The address of the present view with other values: name → value, values, or null for none. A link
// leads to the calls unless it names a panel.
export function addressOf(changes, search = location.search) {
  const query = new URLSearchParams(search);
  for (const name of OF_ONE_VIEW) query.delete(name);
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of [value].flat()) if (one !== null) query.append(name, NAMES.has(name) ? written(one) : one);
  }
  return query.size === 0 ? location.pathname : `?${query}`;
}

// A link with this text, which comes from outside: kept apart from the direction of the text around.
export function makeLink(changes, text, title = "") {
  const link = document.createElement("a");
  const name = document.createElement("bdi");
  name.textContent = plain(text);
  link.append(name);
  if (title !== "") link.title = title;
  return aim(link, changes);
}

// Make `link` lead to the present view with `changes`.
export function aim(link, changes) {
  const view = JSON.stringify(changes);
  if (link.dataset.view === view) return link;
  link.dataset.view = view;
  link.href = addressOf(changes);
  return link;
}

// Make it no link any more.
export function unaim(link) {
  if (link.dataset.view === undefined) return;
  delete link.dataset.view;
  link.removeAttribute("href");
}

// The live calls with the same last SIP response; of an ended call, those that it ended just now.
export const codeView = (code, ended) => (ended ? { panel: "ended", code: String(code) } : { q: `code:${code}` });

const refresh = (link) => { link.href = addressOf(JSON.parse(link.dataset.view)); };

// `go(href)` is called for a plain click, also on a link to a named view (`data-named`). Filters may
// have changed since a link was made, so its address is made anew before the browser shows or opens it.
export function listenToLinks(go) {
  const linkOf = (event) => event.target.closest?.("a[data-view]") ?? null;
  for (const kind of ["pointerover", "pointerdown", "focusin", "keydown", "contextmenu"]) {
    document.addEventListener(kind, (event) => {
      const link = linkOf(event);
      if (link !== null) refresh(link);
    }, { capture: true, passive: true });
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a:is([data-view], [data-named])") ?? null;
    if (link === null || event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // another tab
    event.preventDefault();
    if (link.dataset.view !== undefined) refresh(link); // a program may click without a pointer
    go(link.href);
  });
}
