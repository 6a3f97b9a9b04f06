// The rows in sight: a few dozen rows of the document, used again for one call after another.
//
// They know how a call looks, not which calls there are. A row that goes out of sight is kept for
// the next one that comes, and its texts are changed in place: the dearest thing a browser does for
// a table is to make elements, and to find out how they look.

import { COLUMNS } from "./columns.js";

export class Rows {
  constructor(body) {
    this.body = body;
    this.names = []; // of the columns
    this.used = new Map(); // key → { element, cells, texts, … }, those in the document
    this.spare = [];
  }

  // Other columns need other rows.
  setColumns(names) {
    this.names = names;
    this.body.replaceChildren();
    this.used.clear();
    this.spare = [];
  }

  // `calls` are shown from row `first` on, each as { key, record, gone, left, why, chosen }.
  show(first, calls, now, mask) {
    const wanted = new Set();
    for (const { key } of calls) wanted.add(key);
    for (const [key, row] of this.used) if (!wanted.has(key)) this.retire(key, row);
    let next = this.body.firstElementChild;
    calls.forEach((call, offset) => {
      const row = this.used.get(call.key) ?? this.employ(call.key);
      // In the document's order as on the screen, for who has it read aloud.
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
      number(row, first + offset);
      this.fill(row, call, now, mask);
      dress(row, call);
    });
  }

  employ(key) {
    const row = this.spare.pop() ?? this.make();
    row.element.dataset.key = key;
    this.used.set(key, row);
    return row;
  }

  retire(key, row) {
    row.element.remove();
    this.used.delete(key);
    this.spare.push(row);
  }

  make() {
    const element = document.createElement("tr");
    element.setAttribute("role", "row");
    const cells = this.names.map((name) => {
      const cell = document.createElement("td");
      cell.setAttribute("role", "cell");
      cell.className = COLUMNS[name].number ? `${name} number` : name;
      element.append(cell);
      return cell.appendChild(new Text());
    });
    return { element, cells, texts: [], index: -1, look: "" };
  }

  // Of a row that shows what it has shown, only what ticks is worked out again.
  fill(row, { record, gone, why }, now, mask) {
    const odd = why.length > 0;
    const same = row.record === record && row.gone === gone && row.odd === odd && row.mask === mask;
    if (!same) Object.assign(row, { record, gone, odd, mask });
    this.names.forEach((name, at) => {
      const column = COLUMNS[name];
      if (same && !column.ticks) return;
      let text = column.text(record, now, gone, mask);
      if (name === "state" && odd) text = `⚠ ${text}`;
      if (row.texts[at] === text) return;
      row.texts[at] = text;
      row.cells[at].data = text; // text only: a caller chooses his name
    });
  }
}

function number(row, index) {
  if (row.index === index) return;
  row.index = index;
  row.element.setAttribute("aria-rowindex", String(index + 2)); // the first one is the heading
}

function dress(row, { record, gone, left, why, chosen }) {
  const state = gone ? "over" : record.state;
  const kinds = [
    "call", gone?.over.outcome === "answered" && "usual", why.length > 0 && "odd",
    record.unconfirmed === true && !gone && "unconfirmed",
  ].filter(Boolean).join(" ");
  const title = why.join("; ");
  const look = `${state} ${kinds} ${chosen} ${left} ${title}`;
  if (row.look === look) return;
  row.look = look;
  const { element } = row;
  element.dataset.state = state;
  element.dataset.left = left;
  element.className = kinds;
  element.title = title;
  if (chosen) element.setAttribute("aria-current", "true");
  else element.removeAttribute("aria-current");
}
