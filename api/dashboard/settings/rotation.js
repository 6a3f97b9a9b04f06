// A wall that shows its named views in turn: `rotate=30` beside `wall=1` in the page's address is the
// time that each is shown, in seconds. The wall says the name of the view, and its filters in words.

import { byId, setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { plain } from "../text/text.js";

const LEAST_SECONDS = 5;
const MOST_SECONDS = 3_600;

// The interval of an address in seconds; null without one, or with one that is out of bounds.
export function secondsIn(search) {
  const text = new URLSearchParams(search).get("rotate") ?? "";
  const seconds = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  return seconds >= LEAST_SECONDS && seconds <= MOST_SECONDS ? seconds : null;
}

export class Rotation {
  // `views()`: the named views, see views.js. `show(search)` shows one. `now()` is passing time, ms.
  constructor({ views, show, now }) {
    Object.assign(this, { views, show, now });
    this.next = 0; // index of the view to show
    this.since = null; // when the present one came, ms; null while no wall rotates
    this.shown = null; // the present view: its name, and the address that it has since
  }

  // The name of the view on the wall; "" before the first, and once the address is another one.
  get name() {
    return this.shown !== null && this.shown.search === location.search ? this.shown.name : "";
  }

  // Called twice a second. `wall`: whether the page is one.
  tick(wall) {
    this.turn(wall);
    setText(byId("wall-view"), this.name && t("wall.view", { name: plain(this.name) }));
  }

  turn(wall) {
    const seconds = wall ? secondsIn(location.search) : null;
    if (seconds === null) {
      this.since = null;
      this.shown = null;
      return;
    }
    this.since ??= this.now();
    if (this.now() - this.since < seconds * 1000) return;
    this.since = this.now();
    const views = this.views();
    if (views.length === 0) return;
    const { name, address } = views[this.next % views.length];
    const view = new URLSearchParams(address);
    this.next = (this.next + 1) % views.length;
    view.set("wall", "1");
    this.show(`?${view}`);
    this.shown = { name, search: location.search };
  }
}
