// Elements of the panels.

import { makeLink } from "../links.js";

// An element with properties and children.
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// A table with a heading of these titles.
export function tableWith(label, titles) {
  const head = make("tr", {}, ...titles.map((title) => make("th", { scope: "col", textContent: title })));
  const table = make("table", {}, make("thead", {}, head), make("tbody"));
  table.setAttribute("aria-label", label);
  return table;
}

// A link to the calls that ended just now by a SIP response or outcome. `narrow`: other filters, name →
// value.
export function endedLink(code, text, title, narrow = {}) {
  return makeLink({ panel: "ended", code, ...narrow }, text, title);
}

// A link to the live calls that a search finds.
export const searchLink = (search, text, title) => makeLink({ q: search }, text, title);

// A link to the live calls of a trunk, company or node: this view with one filter more.
const callsLink = (filter) => (value, title) => makeLink({ [filter]: value }, value, title);
export const trunkLink = callsLink("trunk");
export const companyLink = callsLink("company_id");
export const nodeLink = callsLink("node");
