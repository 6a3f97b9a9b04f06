// Pause: the table stands still while it is read. Changes are counted meanwhile, and shown
// together when it goes on.

import { byId, setText } from "../elements.js";
import { t } from "../text/catalogue.js";

export class Pause {
  constructor(table, liveCalls) {
    this.table = table;
    this.liveCalls = liveCalls;
    this.since = null; // server time when it was paused, ms; null while it runs
    this.changes = 0;
  }

  get on() {
    return this.since !== null;
  }

  count(change) {
    this.changes += change === "all" ? 1
      : change.added.length + change.changed.length + change.removed.length;
  }

  toggle() {
    if (this.on) {
      this.resume();
      return;
    }
    this.since = this.liveCalls.callTime();
    this.changes = 0;
    // A copy of the map is enough: the fold never changes a record in place.
    this.table.show(new Map(this.liveCalls.fold.calls), "all");
    this.draw();
  }

  resume() {
    if (!this.on) return;
    this.since = null;
    this.table.show(this.liveCalls.fold.calls, "all");
    this.draw();
  }

  draw() {
    byId("pause").setAttribute("aria-pressed", String(this.on));
    document.body.classList.toggle("paused", this.on);
    setText(byId("pause"), t(this.on ? "tools.resume" : "tools.pause"));
  }
}
