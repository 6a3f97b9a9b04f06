// Closes what was left open on a wall. An open call or a row chosen by keyboard holds the order of the
// rows, and a dialog covers them. A minute after the last key, click or turn of the wheel the wall
// closes them. Pointer movement does not count as input: an optical mouse can drift on its own.

const UNATTENDED_MS = 60_000;

export class Unattended {
  // `now()` is passing time, ms. `input()` is called before a key, click or turn of the wheel has its
  // effect, `left()` after what was open was closed.
  constructor({ now, table, drawer, hold, input, left }) {
    Object.assign(this, { now, table, drawer, hold, left });
    this.inputAt = now();
    // A screen reader clicks without a pointer.
    for (const kind of ["keydown", "pointerdown", "click", "wheel"]) {
      document.addEventListener(kind, () => {
        this.inputAt = this.now();
        input();
      }, { passive: true, capture: true });
    }
  }

  // Until everything is closed, ms.
  get leftMs() {
    return Math.max(0, UNATTENDED_MS - (this.now() - this.inputAt));
  }

  // Called twice a second. `wall`: whether the page is one; at a desk everything stays open.
  tick(wall) {
    if (!wall || this.leftMs > 0) return;
    this.inputAt = this.now();
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    this.drawer.close();
    this.table.select(null);
    this.hold.letGo();
    this.left();
  }
}
