// A wall that shows its named views in turn: `rotate=30` beside `wall=1` in the page's address is the
// time that each is shown, in seconds. Filters that a view has are named on the wall in words.

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
  }

  // Called twice a second. `wall`: whether the page is one.
  tick(wall) {
    const seconds = wall ? secondsIn(location.search) : null;
    if (seconds === null) {
      this.since = null;
      return;
    }
    this.since ??= this.now();
    if (this.now() - this.since < seconds * 1000) return;
    this.since = this.now();
    const views = this.views();
    if (views.length === 0) return;
    const view = new URLSearchParams(views[this.next % views.length].address);
    this.next = (this.next + 1) % views.length;
    view.set("wall", "1");
    this.show(`?${view}`);
  }
}
