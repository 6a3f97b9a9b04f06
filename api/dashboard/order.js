// The order of the rows: newest set-up first, kept as calls come and go.
//
// Sorting 50,000 calls ten times a second would be a third of a small computer's time; a call
// that comes or goes costs a search and a move instead.

export class Order {
  constructor() {
    this.keys = [];
    this.setup = new Map(); // key → the time by which it was placed
  }

  replace(calls) {
    this.setup = new Map();
    for (const [key, record] of calls) this.setup.set(key, record.setup_at ?? 0);
    this.keys = [...this.setup.keys()].sort((a, b) => this.compare(a, b));
  }

  // Also for a call that is here already: when it was set up may be learnt late.
  place(key, { setup_at: at = 0 }) {
    if (this.setup.get(key) === at) return;
    this.remove(key);
    this.setup.set(key, at);
    this.keys.splice(this.find(key), 0, key);
  }

  remove(key) {
    if (!this.setup.has(key)) return;
    this.keys.splice(this.find(key), 1);
    this.setup.delete(key);
  }

  // Where `key`, whose time is known, is or would be.
  find(key) {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.compare(this.keys[middle], key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Keys break a tie, so that rows never change places by themselves.
  compare(a, b) {
    return this.setup.get(b) - this.setup.get(a) || (a < b ? -1 : a > b ? 1 : 0);
  }
}
