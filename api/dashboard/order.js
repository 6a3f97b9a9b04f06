// The order of the rows: by any column, odd calls first, kept as calls come, change and go. Pure.
//
// What changes is only noted; who looks at `rows` has it put in its place, all in one pass. A
// thousand changes between two pictures cost a sort of a thousand, never one of 50,000.

const MOST_GONE = 1_000;

export class Order {
  // `rank(record)` is what to sort by, a number, a text or undefined (last, up or down).
  constructor(rank, up = false) {
    this.rank = rank;
    this.up = up;
    this.settled = []; // { key, odd, rank, setup, gone }, as they were shown last
    this.fresh = []; // rows that are not among them yet
    this.placed = new Map(); // key → its row
    this.gone = 0; // how many of both are no longer anybody's
  }

  // `records` yields [key, record, odd].
  replace(records) {
    this.placed = new Map();
    for (const [key, record, odd] of records) this.placed.set(key, this.row(key, record, odd));
    this.settled = [...this.placed.values()].sort((a, b) => this.compare(a, b));
    this.fresh = [];
    this.gone = 0;
  }

  // Also for a call that is here already: a row moves only when what it is sorted by changes.
  place(key, record, odd) {
    const row = this.row(key, record, odd);
    const known = this.placed.get(key);
    if (known !== undefined) {
      if (this.compare(known, row) === 0) return;
      this.forget(known);
    }
    this.placed.set(key, row);
    this.fresh.push(row);
  }

  remove(key) {
    const known = this.placed.get(key);
    if (known === undefined) return;
    this.placed.delete(key);
    this.forget(known);
  }

  has(key) {
    return this.placed.has(key);
  }

  get size() {
    return this.placed.size;
  }

  // All rows, in order.
  get rows() {
    if (this.fresh.length > 0 || this.gone > 0) this.settle();
    return this.settled;
  }

  // Where a call stands, or −1.
  index(key) {
    const row = this.placed.get(key);
    return row === undefined ? -1 : this.find(this.rows, row);
  }

  row(key, record, odd) {
    const setup = record.setup_at ?? 0;
    return { key, odd: odd ? 0 : 1, rank: this.rank(record), setup, gone: false };
  }

  forget(row) {
    row.gone = true;
    this.gone += 1;
    // A tab that is hidden for days looks at none of this, and would keep every call there was.
    if (this.gone > MOST_GONE && this.gone > this.placed.size) this.settle();
  }

  settle() {
    const stayed = this.gone > 0 ? this.settled.filter((row) => !row.gone) : this.settled;
    const come = this.fresh.filter((row) => !row.gone).sort((a, b) => this.compare(a, b));
    const rows = [];
    let at = 0;
    for (const row of come) {
      for (const before = this.find(stayed, row); at < before; at += 1) rows.push(stayed[at]);
      rows.push(row);
    }
    for (; at < stayed.length; at += 1) rows.push(stayed[at]);
    this.settled = rows;
    this.fresh = [];
    this.gone = 0;
  }

  // Where among `rows` this one is or would be.
  find(rows, row) {
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.compare(rows[middle], row) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // The newest first among equals, then keys: rows never change places by themselves.
  compare(a, b) {
    return a.odd - b.odd || this.ranks(a.rank, b.rank) || b.setup - a.setup
      || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  }

  ranks(a, b) {
    if (a === b) return 0;
    if (a === undefined) return 1;
    if (b === undefined) return -1;
    return (a < b ? -1 : 1) * (this.up ? 1 : -1);
  }
}
