// The table: tens of thousands of calls, of which only the rows in sight exist.

import { COLUMNS } from "./columns.js";
import { Order } from "./order.js";
import { reasons } from "./odd.js";

const OVERSCAN = 6;
const PICTURE_MS = 200; // between two pictures of what changed; scrolling does not wait
const FADE_MS = 4_000; // how long a call that is over shows why

// Which rows exist for what is scrolled into sight: the first, and how many. Pure.
export function inSight(scrolled, seen, height, count) {
  const first = Math.max(0, Math.min(Math.floor(scrolled / height) - OVERSCAN, count));
  return [first, Math.min(Math.ceil(seen / height) + 2 * OVERSCAN, count - first)];
}

export class Table {
  // `clock()` is the server's time as far as it can be vouched for, ms; `now()` is for the fade,
  // which goes on when that stands still; `admits(key, record)` and `odd(record)` choose and raise;
  // `open(key)` is called for a row that somebody wants to know more of.
  constructor({ table, scroller, head, body, clock, now, schedule, admits, odd, limits, open, sort }) {
    Object.assign(this, { table, scroller, head, body, clock, now, schedule, admits, odd, limits });
    this.onSort = sort;
    this.columns = [];
    this.mask = false;
    this.raise = true; // odd calls stand first
    this.calls = new Map();
    this.leaving = new Map(); // key → { record, over, until }, who goes first first
    this.sorted = { column: "age", up: true };
    this.order = new Order(COLUMNS.age.rank, true); // of the calls and of those that leave
    this.oddKeys = new Set();
    this.rows = new Map(); // key → { element, cells, texts, … }, those in the document
    this.selected = null;
    this.anchor = null; // the topmost row and how far it is scrolled out: it stays where it is
    this.height = 0;
    this.due = false;
    this.soon = false;
    this.paintedAt = 0;
    scroller.addEventListener("scroll", () => {
      this.hold();
      this.draw();
    }, { passive: true });
    body.addEventListener("click", (event) => {
      const key = event.target.closest(".call")?.dataset.key;
      if (key !== undefined && getSelection().isCollapsed) {
        this.select(key);
        open(key);
      }
    });
    new ResizeObserver(() => {
      this.height = 0; // letters grow with the window
      this.draw();
    }).observe(scroller);
  }

  // -- what is shown -----------------------------------------------------------------------

  show(calls, change, ended = {}) {
    this.calls = calls;
    if (change === "all") {
      this.leaving.clear();
      this.arrange();
    } else {
      for (const [key, record] of change.removed) this.leave(key, record, ended[key]);
      for (const key of change.added) this.leaving.delete(key);
      for (const key of change.added) this.place(key, calls.get(key));
      for (const key of change.changed) this.place(key, calls.get(key));
    }
    this.sweep(); // here too, for a hidden tab paints nothing and would keep them all
    this.drawSoon();
  }

  place(key, record) {
    if (!this.admits(key, record)) {
      this.order.remove(key);
      return;
    }
    const odd = this.odd(record);
    if (odd) this.oddKeys.add(key);
    else this.oddKeys.delete(key);
    this.order.place(key, record, odd && this.raise);
  }

  // A call without a reason is no longer ours to show: it goes at once.
  leave(key, record, over) {
    const shown = this.order.index(key) >= 0;
    this.oddKeys.delete(key);
    if (over === undefined || !shown) this.order.remove(key);
    else this.leaving.set(key, { record, over, until: this.now() + FADE_MS });
  }

  sweep() {
    const now = this.now();
    for (const [key, { until }] of this.leaving) {
      if (until > now) break;
      this.leaving.delete(key);
      this.order.remove(key);
    }
  }

  // All anew: another filter, another sorting, another set of calls.
  arrange() {
    const wanted = [];
    this.oddKeys.clear();
    for (const [key, record] of this.calls) {
      if (!this.admits(key, record)) continue;
      const odd = this.odd(record);
      if (odd) this.oddKeys.add(key);
      wanted.push([key, record, odd && this.raise]);
    }
    for (const [key, { record }] of this.leaving) {
      if (this.admits(key, record)) wanted.push([key, record, false]);
    }
    this.order.replace(wanted);
    this.draw();
  }

  // Time passes: a call that was as calls are may have become odd, or long enough to be wanted.
  age(byTime) {
    if (byTime) {
      this.arrange();
      return;
    }
    for (const row of [...this.order.rows]) {
      const record = this.calls.get(row.key);
      if (record !== undefined && this.odd(record) !== this.oddKeys.has(row.key)) {
        this.place(row.key, record);
      }
    }
  }

  sort(column, up) {
    this.sorted = { column, up };
    this.order = new Order(COLUMNS[column].rank, up);
    this.label();
    this.arrange();
  }

  get count() {
    return this.order.rows.length - this.leaving.size;
  }

  *matching() {
    for (const { key } of this.order.rows) {
      if (!this.leaving.has(key)) yield [key, this.record(key)];
    }
  }

  record(key) {
    return this.calls.get(key) ?? this.leaving.get(key)?.record;
  }

  // -- the head ----------------------------------------------------------------------------

  setColumns(names, widths = names.map((name) => COLUMNS[name].width)) {
    this.columns = names;
    this.table.style.setProperty("--columns", widths.join(" "));
    this.head.replaceChildren(...names.map((name) => this.title(name)));
    this.label();
    for (const { element } of this.rows.values()) element.remove();
    this.rows.clear();
    this.height = 0;
    this.draw();
  }

  title(name) {
    const cell = document.createElement("th");
    cell.setAttribute("role", "columnheader");
    cell.className = COLUMNS[name].number ? `${name} number` : name;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = COLUMNS[name].title;
    button.addEventListener("click", () => {
      const { column, up } = this.sorted;
      this.onSort(name, name === column ? !up : true);
    });
    cell.append(button);
    return cell;
  }

  label() {
    this.columns.forEach((name, index) => {
      const sorted = name === this.sorted.column;
      // What lasts is sorted by when it began, so up and down are the other way round for people.
      const up = ["talk", "age"].includes(name) ? !this.sorted.up : this.sorted.up;
      this.head.children[index].setAttribute(
        "aria-sort", sorted ? (up ? "ascending" : "descending") : "none",
      );
    });
  }

  // -- the keyboard's row ------------------------------------------------------------------

  select(key) {
    this.selected = key;
    this.draw();
  }

  // One row down or up, and into sight.
  move(by) {
    const { rows } = this.order;
    if (rows.length === 0) return;
    const at = this.selected === null ? -1 : this.order.index(this.selected);
    const index = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
    this.selected = rows[index].key;
    const top = index * this.height;
    const space = this.scroller.clientHeight - this.headHeight() - this.height;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top > this.scroller.scrollTop + space) this.scroller.scrollTop = top - space;
    this.hold();
    this.draw();
  }

  // -- painting ----------------------------------------------------------------------------

  drawSoon() {
    if (this.soon) return;
    this.soon = true;
    setTimeout(() => {
      this.soon = false;
      this.draw();
    }, Math.max(0, PICTURE_MS - (this.now() - this.paintedAt)));
  }

  draw() {
    if (this.due) return;
    this.due = true;
    this.schedule(() => {
      this.due = false;
      this.paint();
    });
  }

  // Remember the topmost row, so that calls that come above it do not push it away.
  hold() {
    const { scrollTop } = this.scroller;
    const first = Math.floor(scrollTop / (this.height || 1));
    const row = scrollTop > 0 ? this.order.rows[first] : undefined;
    this.anchor = row && { key: row.key, by: scrollTop - first * this.height, at: first };
  }

  keepPlace() {
    if (!this.anchor) return;
    const index = this.order.index(this.anchor.key);
    if (index >= 0 && index !== this.anchor.at) {
      this.scroller.scrollTop = index * this.height + this.anchor.by;
    }
  }

  paint() {
    this.paintedAt = this.now();
    this.sweep();
    this.height ||= this.measure();
    const { rows } = this.order;
    if (this.painted !== rows.length) {
      this.painted = rows.length;
      this.body.style.height = `${rows.length * this.height}px`; // CSSOM: no style attribute
      this.table.setAttribute("aria-rowcount", String(rows.length + 1));
    }
    this.keepPlace();
    const { scrollTop, clientHeight } = this.scroller;
    const [first, count] = inSight(scrollTop, clientHeight, this.height, rows.length);
    const shown = rows.slice(first, first + count);
    const kept = new Set();
    for (const { key } of shown) kept.add(key);
    this.discard(kept);
    const now = this.clock();
    let next = this.body.firstElementChild;
    shown.forEach(({ key }, offset) => {
      const row = this.row(key);
      // In the document's order as on the screen, for who has it read aloud.
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
      this.fill(row, key, now);
      this.put(row, first + offset);
    });
    if (this.anchor) this.hold();
  }

  row(key) {
    let row = this.rows.get(key);
    if (row === undefined) {
      row = this.make(key);
      this.rows.set(key, row);
    }
    return row;
  }

  discard(kept) {
    for (const [key, { element }] of this.rows) {
      if (kept.has(key)) continue;
      element.remove();
      this.rows.delete(key);
    }
  }

  headHeight() {
    return this.head.parentElement.getBoundingClientRect().height;
  }

  measure() {
    const { element } = this.make("");
    this.body.append(element);
    const { height } = element.getBoundingClientRect();
    element.remove();
    this.painted = -1;
    for (const row of this.rows.values()) row.at = -1;
    return height || 32;
  }

  make(key) {
    const element = document.createElement("tr");
    element.setAttribute("role", "row");
    element.className = "call";
    element.dataset.key = key;
    const cells = this.columns.map((name) => {
      const cell = document.createElement("td");
      cell.setAttribute("role", "cell");
      cell.className = COLUMNS[name].number ? `${name} number` : name;
      element.append(cell);
      return cell;
    });
    return { element, cells, texts: [], at: -1, look: "" };
  }

  put(row, index) {
    if (row.at === index) return;
    row.at = index;
    row.element.style.transform = `translateY(${index * this.height}px)`;
    row.element.setAttribute("aria-rowindex", String(index + 2));
  }

  fill(row, key, now) {
    const gone = this.leaving.get(key);
    const record = this.record(key);
    if (record === undefined) return;
    const why = this.oddKeys.has(key) && !gone ? reasons(record, now, this.limits()) : [];
    this.dress(row, key, record, gone, why);
    this.columns.forEach((name, index) => {
      let text = COLUMNS[name].text(record, now, gone, this.mask);
      if (name === "state" && why.length > 0) text = `⚠ ${text}`;
      if (row.texts[index] === text) return;
      row.texts[index] = text;
      row.cells[index].textContent = text;
    });
  }

  dress(row, key, record, gone, why) {
    const state = gone ? "over" : record.state;
    const look = [
      "call", gone?.over.outcome === "answered" && "usual", why.length > 0 && "odd",
      record.unconfirmed === true && !gone && "unconfirmed",
    ].filter(Boolean).join(" ");
    const chosen = key === this.selected;
    // In quarters: an animation would make a layer of every row and a picture of every frame.
    const left = gone ? Math.ceil((4 * (gone.until - this.now())) / FADE_MS) : "";
    const seen = `${state} ${look} ${chosen} ${left} ${why[0] ?? ""}`;
    if (row.look === seen) return;
    row.look = seen;
    row.element.dataset.state = state;
    row.element.dataset.left = left;
    row.element.className = look;
    row.element.title = why.join("; ");
    if (chosen) row.element.setAttribute("aria-current", "true");
    else row.element.removeAttribute("aria-current");
  }
}
