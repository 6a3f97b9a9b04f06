// The rows in the document: a few dozen, each reused for one call after another.
//
// To create elements and to compute their style is what costs a browser most in a table. So a row
// that scrolls out of sight is kept for the next call, and only texts that differ are written.

import { aim, unaim } from "../links.js";
import { COLUMNS } from "./columns.js";
import { isFault } from "./endings.js";

export class Rows {
  constructor(body) {
    this.body = body;
    this.columns = []; // names
    this.used = new Map(); // key → { element, cells, texts, … }: the rows in the document
    this.spare = [];
    this.made = 0;
  }

  // The id of a call's row in the document; undefined if it is out of sight.
  idOf(key) {
    return this.used.get(key)?.element.id;
  }

  // New columns need new rows.
  setColumns(names) {
    this.columns = names;
    this.body.replaceChildren();
    this.used.clear();
    this.spare = [];
  }

  // Keep nothing of any call, not even in spare rows.
  forget() {
    this.setColumns(this.columns);
  }

  // Show `calls` from row `first` on. Each is { key, record, end, fade, why, selected }: `end` is how
  // an ended call ended, `fade` the quarters of its time that are left, `why` its anomalies.
  show(first, calls, now, mask) {
    const wanted = new Set();
    for (const { key } of calls) wanted.add(key);
    for (const [key, row] of this.used) if (!wanted.has(key)) this.release(key, row);
    let next = this.body.firstElementChild;
    calls.forEach((call, offset) => {
      const row = this.used.get(call.key) ?? this.takeRow(call.key);
      // The document has the order of the screen: screen readers read it.
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
      setIndex(row, first + offset);
      this.fill(row, call, now, mask);
      style(row, call);
    });
  }

  takeRow(key) {
    const row = this.spare.pop() ?? this.make();
    row.element.dataset.key = key;
    this.used.set(key, row);
    return row;
  }

  release(key, row) {
    row.element.remove();
    this.used.delete(key);
    this.spare.push(row);
  }

  make() {
    const element = document.createElement("tr");
    element.setAttribute("role", "row");
    this.made += 1;
    element.id = `row-${this.made}`;
    const cells = this.columns.map((name) => {
      const cell = document.createElement("td");
      cell.setAttribute("role", "gridcell");
      cell.className = COLUMNS[name].number ? `${name} number` : name;
      element.append(cell);
      const text = new Text();
      cell.append(COLUMNS[name].view ? makeLink(text) : text);
      return text;
    });
    return { element, cells, texts: [], index: -1, look: "" };
  }

  // If call and options are the same, only columns that change with time are computed again.
  fill(row, { record, end, why }, now, mask) {
    const anomaly = why.length > 0;
    const same = row.record === record && row.end === end
      && row.anomaly === anomaly && row.mask === mask;
    if (!same) Object.assign(row, { record, end, anomaly, mask });
    this.columns.forEach((name, at) => {
      const column = COLUMNS[name];
      if (same && !column.ticks) return;
      if (column.view) lead(row.cells[at].parentNode, column.view(record, end));
      const text = column.text(record, now, end, mask);
      if (row.texts[at] === text) return;
      row.texts[at] = text;
      row.cells[at].data = text; // a text node: callers choose these texts
    });
  }
}

// A link in a row. The grid is one stop of the Tab key (WAI-ARIA): by keyboard, Enter opens the call,
// and its drawer has the same links. Not draggable, or no text could be selected from it on.
function makeLink(text) {
  const link = Object.assign(document.createElement("a"), { tabIndex: -1, draggable: false });
  link.append(text);
  return link;
}

function lead(link, view) {
  if (view === null) unaim(link);
  else aim(link, view);
}

function setIndex(row, index) {
  if (row.index === index) return;
  row.index = index;
  row.element.setAttribute("aria-rowindex", String(index + 2)); // counts from 1, and the heading is the first
}

function style(row, { record, end, fade, why, selected }) {
  const state = end ? "ended" : record.state;
  const classes = [
    "call", end && isFault(end, record) && "fault", why.length > 0 && "anomaly",
    record.unconfirmed === true && !end && "unconfirmed",
  ].filter(Boolean).join(" ");
  const title = why.join("; ");
  const look = `${state} ${classes} ${selected} ${fade} ${title}`;
  if (row.look === look) return;
  row.look = look;
  const { element } = row;
  element.dataset.state = state;
  element.dataset.fade = fade;
  element.className = classes;
  element.title = title;
  if (selected) element.setAttribute("aria-current", "true");
  else element.removeAttribute("aria-current");
}
