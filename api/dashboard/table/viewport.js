// The visible part of the table: its sizes, and where it is scrolled to.
//
// Calls come and go above the row that is being read. So the viewport remembers the topmost row
// (the anchor) and how far it is scrolled out, and the table is scrolled to where that row is then.
//
// Nothing here asks the browser for a size or a position: it would have to lay out the page at
// once. A ResizeObserver reports sizes after layout and before the page is painted, so no frame is
// without rows.

const OVERSCAN = 6; // rows above and below the visible part

// The first row to show, and how many, for a position in px. Pure.
export function inSight(top, height, rowHeight, count) {
  const first = Math.max(0, Math.min(Math.floor(top / rowHeight) - OVERSCAN, count));
  return [first, Math.min(Math.ceil(height / rowHeight) + 2 * OVERSCAN, count - first)];
}

export class Viewport {
  // `scrolled()` is called after scrolling, `resized()` when a size has changed.
  constructor({ scroller, head, ruler }, { scrolled, resized }) {
    this.scroller = scroller;
    this.rowHeight = 0; // px; 0 until the page is laid out
    this.height = 0; // of the visible part, px
    this.headingHeight = 0; // px
    this.top = 0; // px that are scrolled out above
    this.anchor = null; // { key, offset }: the topmost row, and px of it that are scrolled out
    scroller.addEventListener("scroll", () => {
      if (scroller.scrollTop === this.top) return; // caused by `scrollTo`
      this.top = scroller.scrollTop;
      scrolled();
    }, { passive: true });
    const sizes = new Map([
      [scroller, "height"], [ruler, "rowHeight"], [head.parentElement, "headingHeight"],
    ]);
    const observer = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) this[sizes.get(target)] = contentRect.height;
      resized();
    });
    for (const element of sizes.keys()) observer.observe(element);
  }

  get ready() {
    return this.rowHeight > 0;
  }

  // Remember the topmost row. At the very top there is none: new calls push the rows down.
  hold(rows) {
    if (!this.ready) return;
    const first = Math.floor(this.top / this.rowHeight);
    const row = this.top > 0 ? rows[first] : undefined;
    this.anchor = row && { key: row.key, offset: this.top - first * this.rowHeight };
  }

  // The position at which the anchor is where it was; `total` is the table's height, px.
  anchoredTop(listing, total) {
    const index = this.anchor ? listing.index(this.anchor.key) : -1;
    const wanted = index < 0 ? this.top : index * this.rowHeight + this.anchor.offset;
    return Math.max(0, Math.min(wanted, total - this.height));
  }

  // Scroll as little as brings row `index` into sight.
  reveal(index) {
    const top = index * this.rowHeight;
    const space = this.height - this.headingHeight - this.rowHeight;
    this.scrollTo(Math.max(top - space, Math.min(top, this.top)));
  }

  scrollTo(top) {
    if (top === this.top) return;
    this.top = top;
    this.scroller.scrollTop = top;
  }
}
