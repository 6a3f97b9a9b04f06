// The order of the rows: in groups, and by any column in a group. Pure.
//
// A change is only recorded; reading `rows` merges all recorded changes in one pass. A thousand
// changes between two paints cost a sort of a thousand rows and a merge, not a sort of 50,000.

const MAX_REMOVED = 1_000; // rows kept until a merge, in a tab that reads no rows

export class Order {
  // `rank(record)` is what to sort by: a number, a text, or undefined, which is last in both orders.
  constructor(rank, up = false) {
    this.rank = rank;
    this.up = up;
    this.merged = []; // { key, group, rank, setup, removed }: sorted
    this.added = []; // rows that are not merged yet
    this.placed = new Map(); // key → its row
    this.removed = 0; // how many rows of both have been removed or replaced
  }

  // `records` yields [key, record, group]; rows of a lower group stand before those of a higher one.
  replace(records) {
    this.placed = new Map();
    for (const [key, record, group] of records) this.placed.set(key, this.row(key, record, group));
    this.merged = [...this.placed.values()].sort((a, b) => this.compare(a, b));
    this.added = [];
    this.removed = 0;
  }

  // Add or update a call. Its row moves only if what it is sorted by has changed.
  place(key, record, group) {
    const row = this.row(key, record, group);
    const known = this.placed.get(key);
    if (known !== undefined) {
      if (this.compare(known, row) === 0) return;
      this.forget(known);
    }
    this.placed.set(key, row);
    this.added.push(row);
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
    if (this.added.length > 0 || this.removed > 0) this.merge();
    return this.merged;
  }

  // The index of a call, or −1.
  index(key) {
    const row = this.placed.get(key);
    return row === undefined ? -1 : this.find(this.rows, row);
  }

  row(key, record, group) {
    const setup = record.setup_at ?? 0;
    return { key, group, rank: this.rank(record), setup, removed: false };
  }

  forget(row) {
    row.removed = true;
    this.removed += 1;
    // A tab that is hidden for days reads no rows, and would keep every call there was.
    if (this.removed > MAX_REMOVED && this.removed > this.placed.size) this.merge();
  }

  merge() {
    const kept = this.removed > 0 ? this.merged.filter((row) => !row.removed) : this.merged;
    const added = this.added.filter((row) => !row.removed).sort((a, b) => this.compare(a, b));
    const rows = [];
    let at = 0;
    for (const row of added) {
      for (const before = this.find(kept, row); at < before; at += 1) rows.push(kept[at]);
      rows.push(row);
    }
    for (; at < kept.length; at += 1) rows.push(kept[at]);
    this.merged = rows;
    this.added = [];
    this.removed = 0;
  }

  // Where `row` is or would be among `rows`, by bisection.
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

  // Equal rows stand by set-up time, newest first, then by key: so the order is total and stable.
  compare(a, b) {
    return a.group - b.group || this.ranks(a.rank, b.rank) || b.setup - a.setup
      || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  }

  ranks(a, b) {
    if (a === b) return 0;
    if (a === undefined) return 1;
    if (b === undefined) return -1;
    return (a < b ? -1 : 1) * (this.up ? 1 : -1);
  }
}
