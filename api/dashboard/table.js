// The table: tens of thousands of calls, of which only the rows in sight exist.

import { COLUMNS } from "./columns.js";
import { Heading } from "./heading.js";
import { reasons } from "./odd.js";
import { Order } from "./order.js";
import { Rows } from "./rows.js";

const OVERSCAN = 6;
const PICTURE_MS = 250; // between two pictures of what changed; scrolling does not wait
const FADE_MS = 4_000; // how long a call that is over shows why

// Which rows exist for what is scrolled into sight: the first, and how many. Pure.
export function inSight(scrolled, seen, height, count) {
  const first = Math.max(0, Math.min(Math.floor(scrolled / height) - OVERSCAN, count));
  return [first, Math.min(Math.ceil(seen / height) + 2 * OVERSCAN, count - first)];
}

export class Table {
  // `clock()` is the server's time as far as it can be vouched for, ms; `now()` is for the fade,
  // which goes on when that stands still; `admits(key, record, time)` and `odd(record, time)`
  // choose and raise; `open(key)` is called for a row that somebody wants to know more of.
  constructor({ table, scroller, head, body, ruler, clock, now, schedule, admits, odd, limits,
    open, sort }) {
    Object.assign(this, { table, scroller, body, clock, now, schedule, admits, odd, limits });
    this.heading = new Heading(head, sort);
    this.rows = new Rows(body);
    this.mask = false;
    this.raise = true; // odd calls stand first
    this.calls = new Map();
    this.leaving = new Map(); // key → { record, over, until }, who goes first first
    this.sorted = { column: "age", up: true };
    this.order = new Order(COLUMNS.age.rank, true); // of the calls and of those that leave
    this.oddKeys = new Set();
    this.selected = null;
    this.anchor = null; // the topmost row and how far it is scrolled out: it stays where it is
    this.height = 0; // of a row, px; 0 until the page is laid out
    this.seen = 0; // of the table, px
    this.headed = 0; // of the heading, px
    this.scrolled = 0;
    this.due = false;
    this.soon = false;
    this.paintedAt = 0;
    scroller.addEventListener("scroll", () => {
      if (scroller.scrollTop === this.scrolled) return; // it was us
      this.scrolled = scroller.scrollTop;
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
    // Letters grow with the window. The browser says so when it has laid the page out and before
    // anybody sees it, so there is never a picture without rows.
    const measures = new Map(
      [[scroller, "seen"], [ruler, "height"], [head.parentElement, "headed"]],
    );
    const sizes = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) this[measures.get(target)] = contentRect.height;
      this.paint();
    });
    for (const element of measures.keys()) sizes.observe(element);
  }

  // -- what is shown -----------------------------------------------------------------------

  show(calls, change, ended = {}) {
    this.calls = calls;
    if (change === "all") {
      this.leaving.clear();
      this.arrange();
    } else {
      const time = this.clock();
      for (const [key, record] of change.removed) this.leave(key, record, ended[key]);
      for (const key of change.added) this.leaving.delete(key);
      for (const key of change.added) this.place(key, calls.get(key), time);
      for (const key of change.changed) this.place(key, calls.get(key), time);
    }
    this.sweep(); // here too, for a hidden tab paints nothing and would keep them all
    this.drawSoon();
  }

  place(key, record, time) {
    if (!this.admits(key, record, time)) {
      this.oddKeys.delete(key);
      this.order.remove(key);
      return;
    }
    const odd = this.odd(record, time);
    if (odd) this.oddKeys.add(key);
    else this.oddKeys.delete(key);
    this.order.place(key, record, odd && this.raise);
  }

  // A call without a reason is no longer ours to show: it goes at once.
  leave(key, record, over) {
    this.oddKeys.delete(key);
    if (over === undefined || !this.order.has(key)) this.order.remove(key);
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
    const time = this.clock();
    this.oddKeys.clear();
    for (const [key, record] of this.calls) {
      if (!this.admits(key, record, time)) continue;
      const odd = this.odd(record, time);
      if (odd) this.oddKeys.add(key);
      wanted.push([key, record, odd && this.raise]);
    }
    for (const [key, { record }] of this.leaving) {
      if (this.admits(key, record, time)) wanted.push([key, record, false]);
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
    const time = this.clock();
    for (const { key } of this.order.rows) {
      const record = this.calls.get(key);
      if (record !== undefined && this.odd(record, time) !== this.oddKeys.has(key)) {
        this.place(key, record, time);
      }
    }
  }

  sort(column, up) {
    this.sorted = { column, up };
    this.order = new Order(COLUMNS[column].rank, up);
    this.heading.label(this.sorted);
    this.arrange();
  }

  get count() {
    return this.order.size - this.leaving.size;
  }

  *matching() {
    for (const { key } of this.order.rows) {
      if (!this.leaving.has(key)) yield [key, this.record(key)];
    }
  }

  record(key) {
    return this.calls.get(key) ?? this.leaving.get(key)?.record;
  }

  setColumns(names, widths = names.map((name) => COLUMNS[name].width)) {
    this.table.style.setProperty("--columns", widths.join(" "));
    this.heading.setColumns(names);
    this.heading.label(this.sorted);
    this.rows.setColumns(names);
    this.draw();
  }

  // -- the keyboard's row ------------------------------------------------------------------

  select(key) {
    this.selected = key;
    this.draw();
  }

  // One row down or up, and into sight.
  move(by) {
    const { rows } = this.order;
    if (rows.length === 0 || this.height === 0) return;
    const at = this.selected === null ? -1 : this.order.index(this.selected);
    const index = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
    this.selected = rows[index].key;
    const top = index * this.height;
    const space = this.seen - this.headed - this.height;
    this.scrollTo(Math.max(top - space, Math.min(top, this.scrolled)));
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
    if (this.height === 0) return;
    const first = Math.floor(this.scrolled / this.height);
    const row = this.scrolled > 0 ? this.order.rows[first] : undefined;
    this.anchor = row && { key: row.key, by: this.scrolled - first * this.height };
  }

  // Where to be scrolled to, so that the row that was on top is there again.
  kept(total) {
    const index = this.anchor ? this.order.index(this.anchor.key) : -1;
    const wanted = index < 0 ? this.scrolled : index * this.height + this.anchor.by;
    return Math.max(0, Math.min(wanted, total - this.seen));
  }

  // Nothing here asks the browser for a size or a place: it would have to lay out the page first.
  paint() {
    if (this.height === 0) return;
    this.paintedAt = this.now();
    this.sweep();
    const { rows } = this.order;
    const total = this.headed + rows.length * this.height;
    const scrolled = this.kept(total);
    const [first, count] = inSight(scrolled, this.seen, this.height, rows.length);
    const time = this.clock();
    const calls = rows.slice(first, first + count).map(({ key }) => this.look(key, time));
    this.rows.show(first, calls, time, this.mask);
    if (this.first !== first || this.total !== total) {
      this.first = first;
      this.total = total;
      this.table.style.height = `${total}px`; // CSSOM: no style attribute
      this.body.style.transform = `translateY(${first * this.height}px)`;
      this.table.setAttribute("aria-rowcount", String(rows.length + 1));
    }
    this.scrollTo(scrolled);
    if (this.anchor) this.hold();
  }

  scrollTo(place) {
    if (place === this.scrolled) return;
    this.scrolled = place;
    this.scroller.scrollTop = place;
  }

  // How a call is to look now.
  look(key, time) {
    const gone = this.leaving.get(key);
    const record = this.record(key);
    const why = this.oddKeys.has(key) && !gone ? reasons(record, time, this.limits()) : [];
    // In quarters: an animation would make a layer of every row and a picture of every frame.
    const left = gone ? Math.ceil((4 * (gone.until - this.now())) / FADE_MS) : "";
    return { key, record, gone, left, why, chosen: key === this.selected };
  }
}
