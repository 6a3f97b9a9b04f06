// The table: tens of thousands of calls, of which only the visible rows are in the document.
//
// `Listing` keeps the calls in order, `Viewport` knows which are visible, `Rows` writes those into the
// document. Changes are painted four times a second at most; scrolling is painted at once.

import { DEFAULT_SORT } from "../address.js";
import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { whole } from "../text/text.js";
import { Heading } from "./heading.js";
import { FADE_MS, Listing } from "./listing.js";
import { reasons } from "./anomalies.js";
import { Rows } from "./rows.js";
import { Viewport, inSight } from "./viewport.js";

const PAINT_MS = 250; // between two paints of changes
export const MAX_PRINTED = 1_000; // rows on paper

export class Table {
  // `clock()` is the time up to which the calls are known, ms since the epoch; `now()` is passing
  // time for the fade, ms. `admits(key, record, time)` is the filter, `anomalyOf(record, time)`
  // marks rows; `open(key)` is called for a clicked row; `heading`: see heading.js.
  constructor({ table, scroller, head, body, ruler, clock, now, schedule, admits, anomalyOf,
    limits, open, heading }) {
    Object.assign(this, { table, body, clock, now, schedule, limits });
    this.element = table;
    this.listing = new Listing({ clock, now, admits, anomalyOf });
    this.heading = new Heading(head, heading);
    this.rows = new Rows(body);
    this.mask = false;
    this.sorted = DEFAULT_SORT;
    this.painted = undefined; // the rows, in the order of the last paint
    this.selected = null; // key of the row chosen by keyboard or click
    this.drawing = false; // a paint is scheduled for the next frame
    this.drawingSoon = false; // a draw is scheduled by PAINT_MS
    this.paintedAt = 0;
    this.viewport = new Viewport({ scroller, head, ruler }, {
      scrolled: () => {
        this.viewport.hold(this.listing.rows);
        this.draw();
      },
      resized: () => this.paint(),
    });
    this.printing = false;
    this.cut = document.createElement("p");
    this.cut.id = "not-printed";
    this.cut.hidden = true;
    table.after(this.cut);
    addEventListener("beforeprint", () => this.print(true));
    addEventListener("afterprint", () => this.print(false));
    table.addEventListener("keydown", (event) => this.listenToArrows(event));
    body.addEventListener("pointerover", ({ target }) => {
      const cell = target.closest("td");
      if (cell === null) return;
      const cut = cell.scrollWidth > cell.clientWidth;
      if (cut) cell.title = cell.textContent;
      else cell.removeAttribute("title");
    });
    body.addEventListener("click", (event) => {
      const key = event.target.closest(".call")?.dataset.key;
      const selecting = !getSelection().isCollapsed;
      if (event.target.closest("a[href]") !== null) { // links.js follows it
        if (selecting) event.preventDefault();
        return;
      }
      if (key !== undefined && !selecting) {
        this.select(key);
        open(key);
      }
    });
  }

  // -- the calls ---------------------------------------------------------------------------

  // `change` is what `Fold.apply` returned.
  show(calls, change) {
    this.listing.show(calls, change);
    if (change === "all") this.draw();
    this.drawSoon();
  }

  // After a new filter or another preference.
  rebuild() {
    this.listing.release(); // the operator asked for another list
    this.listing.rebuild();
    this.draw();
  }

  sort(column, up) {
    this.listing.release();
    this.sorted = { column, up };
    this.listing.sort(column, up);
    this.heading.label(this.sorted);
    this.draw();
  }

  // `widths`: of the columns in turn, as CSS.
  setColumns(names, widths) {
    this.setWidths(widths);
    this.heading.setColumns(names);
    this.heading.label(this.sorted);
    this.rows.setColumns(names);
    this.draw();
  }

  setWidths(widths) {
    this.table.style.setProperty("--columns", widths.join(" "));
  }

  // Keep nothing of any call.
  forget() {
    this.selected = null;
    this.painted = undefined;
    this.viewport.anchor = null;
    this.rows.forget();
    this.show(new Map(), "all");
  }

  // -- the selected row --------------------------------------------------------------------

  select(key) {
    this.selected = key;
    this.draw();
  }

  // Select the next row (`by` 1) or the previous one (−1), and scroll to it.
  move(by) {
    const { rows } = this.listing;
    if (rows.length === 0 || !this.viewport.ready) return;
    const at = this.selected === null ? -1 : this.listing.index(this.selected);
    const index = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
    this.selected = rows[index].key;
    this.viewport.reveal(index);
    this.viewport.hold(rows);
    this.draw();
  }

  // The keys of a grid (WAI-ARIA).
  listenToArrows(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.table) return;
    const page = Math.max(1, Math.floor(this.viewport.height / this.viewport.rowHeight) - 2);
    const by = {
      ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
    }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.move(by);
  }

  get focused() {
    return this.table.matches(":focus-visible"); // by keyboard; a click only aims once
  }

  // -- painting ----------------------------------------------------------------------------

  drawSoon() {
    if (this.drawingSoon) return;
    this.drawingSoon = true;
    setTimeout(() => {
      this.drawingSoon = false;
      this.draw();
    }, Math.max(0, PAINT_MS - (this.now() - this.paintedAt)));
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    this.schedule(() => {
      this.drawing = false;
      this.paint();
    });
  }

  // Paper does not scroll: it gets the first rows instead of those in sight, and no room for others.
  print(on) {
    this.printing = on;
    const { length } = this.listing.rows;
    this.cut.hidden = !on || length <= MAX_PRINTED;
    setText(this.cut, this.cut.hidden ? "" : t("table.not_printed", { most: whole(MAX_PRINTED), count: whole(length) }));
    this.paint();
  }

  paint() {
    const { viewport } = this;
    if (!viewport.ready) return;
    this.paintedAt = this.now();
    this.listing.removeFaded();
    const rows = this.printing ? this.listing.rows.slice(0, MAX_PRINTED) : this.listing.rows;
    const total = viewport.headingHeight + rows.length * viewport.rowHeight;
    const top = viewport.anchoredTop(this.listing, total);
    const [first, count] = this.printing ? [0, rows.length]
      : inSight(top, viewport.height, viewport.rowHeight, rows.length);
    const time = this.clock();
    const visible = rows.slice(first, first + count).map(({ key }) => this.describe(key, time));
    if (!this.printing) this.painted = rows;
    this.rows.show(first, visible, time, this.mask);
    if (this.first !== first || this.total !== total) {
      this.first = first;
      this.total = total;
      this.table.style.height = `${total}px`; // CSSOM: the policy allows no style attribute
      this.body.style.transform = `translateY(${first * viewport.rowHeight}px)`;
      this.table.setAttribute("aria-rowcount", String(rows.length + 1));
    }
    const active = this.rows.idOf(this.selected);
    if (active !== this.active) {
      this.active = active; // what a screen reader reads while the table has the focus
      if (active === undefined) this.table.removeAttribute("aria-activedescendant");
      else this.table.setAttribute("aria-activedescendant", active);
    }
    if (this.printing) return;
    viewport.scrollTo(top);
    if (viewport.anchor) viewport.hold(rows);
  }

  // What a row shows now; see `Rows.show`.
  describe(key, time) {
    const fading = this.listing.fading.get(key);
    const record = this.listing.record(key);
    const why = this.listing.anomalies.has(key) ? reasons(record, time, this.limits()) : [];
    // In quarters: an animation would make a layer of every row and repaint it in each frame.
    const fade = fading ? Math.ceil((4 * (fading.until - this.now())) / FADE_MS) : "";
    return { key, record, end: this.listing.endOf(key), fade, why, selected: key === this.selected };
  }
}
