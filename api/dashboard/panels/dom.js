// Elements of the panels.

import { plain } from "../text/text.js";

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

// The address of the live calls of a trunk or company: this view with one filter more, as a link to
// share. `filter`: "trunk" or "company_id".
export function linkToCalls(filter, value) {
  const query = new URLSearchParams(location.search);
  query.delete("panel");
  query.delete("code");
  query.set(filter, value);
  return `?${query}`;
}

// The address of the calls that ended just now by a SIP response or outcome.
export function linkToEnded(code) {
  const query = new URLSearchParams(location.search);
  query.set("panel", "ended");
  query.set("code", code);
  return `?${query}`;
}

// A name from outside, kept apart from the direction of the text around it.
const callsLink = (filter) => (value, title) =>
  make("a", { href: linkToCalls(filter, value), title }, make("bdi", { textContent: plain(value) }));
export const trunkLink = callsLink("trunk");
export const companyLink = callsLink("company_id");
