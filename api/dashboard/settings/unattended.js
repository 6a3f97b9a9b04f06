// A wall that was left with something open. An open call, a row chosen by keyboard or a dialog stands
// still or covers the calls, and nobody is there to close it. So a wall closes it a minute after the
// last key, click or turn of the wheel. A pointer that moves is no sign of life: an optical mouse that
// lies there moves by itself.

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
