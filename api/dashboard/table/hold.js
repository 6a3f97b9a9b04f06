// Holds the order of the rows while a user aims at one: under the pointer, while a row has the
// focus of the keyboard, and while the drawer is open. Rows go on to change in place; new calls
// wait, and a button says how many. On a wall, unattended.js lets go.

import { setText } from "../elements.js";
import { counted } from "../text/text.js";

const POINTER_MS = 30_000; // a pointer that has not moved for so long was left there

export class Hold {
  // `now()` is passing time, ms; `changed()` is called when the order may have been let go;
  // `pointerHolds()` says whether the pointer counts: on a wall it only lies there. `drawerOpen()`
  // says whether a call is open.
  constructor({ table, body, button, now, changed, pointerHolds, drawerOpen }) {
    Object.assign(this, { table, body, button, now, changed, pointerHolds, drawerOpen });
    this.movedAt = -Infinity; // of the pointer on the rows
    const moved = () => {
      this.movedAt = this.now();
      this.update();
    };
    for (const kind of ["pointermove", "pointerdown"]) {
      body.addEventListener(kind, moved, { passive: true });
    }
    body.addEventListener("pointerleave", () => {
      this.movedAt = -Infinity;
      this.update();
    });
    for (const kind of ["focus", "blur"]) table.element.addEventListener(kind, () => this.update());
    button.addEventListener("click", () => this.letGo());
  }

  get wanted() {
    const pointer = this.pointerHolds() && this.now() - this.movedAt < POINTER_MS;
    return pointer || this.drawerOpen() || (this.table.focused && this.table.selected !== null);
  }

  // Called at each change above, and twice a second.
  update() {
    const { listing } = this.table;
    if (this.wanted !== listing.held) {
      if (this.wanted) listing.hold(this.table.painted);
      else listing.release();
      if (!listing.held) this.changed();
    }
    const { waiting } = listing;
    this.button.hidden = waiting === 0;
    setText(this.button, waiting === 0 ? "" : counted("table.new_above", waiting));
  }

  // Take the present order, and hold that one.
  letGo() {
    this.table.listing.release();
    this.table.painted = undefined; // the next order is not the one painted
    this.table.viewport.anchor = null;
    this.table.viewport.scrollTo(0);
    this.changed();
    this.update();
  }
}
