// Closes what was left open on a wall. An open call or a row chosen by keyboard holds the order of the
// rows, and a dialog covers them. A minute after the last key, click or turn of the wheel the wall
// closes them. Pointer movement does not count as input: an optical mouse can drift on its own.

const UNATTENDED_MS = 60_000;

export class Unattended {
  // `now()` is passing time, ms.
  constructor({ now, table, drawer, hold }) {
    Object.assign(this, { now, table, drawer, hold });
    this.inputAt = now();
    for (const kind of ["keydown", "pointerdown", "wheel"]) {
      document.addEventListener(kind, () => {
        this.inputAt = this.now();
      }, { passive: true, capture: true });
    }
  }

  // Called twice a second. `wall`: whether the page is one; at a desk everything stays open.
  tick(wall) {
    if (!wall || this.now() - this.inputAt < UNATTENDED_MS) return;
    this.inputAt = this.now();
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    this.drawer.close();
    this.table.select(null);
    this.hold.letGo();
  }
}
