// The calls that the table lists: those that the filters admit, in order, plus ended calls that
// still show their outcome for some seconds. No DOM.
//
// A few anomalies are lifted to the top, those of one reason together: when a node falls silent,
// thousands of calls are unconfirmed at once, and the newest calls must still be in sight.

import { COLUMNS } from "./columns.js";
import { DEFAULT_SORT } from "../address.js";
import { KINDS } from "./anomalies.js";
import { Order } from "./order.js";

export const FADE_MS = 4_000; // how long an ended call stays
export const MAX_LIFTED = 5; // anomalies above all other rows

const GROUPS = new Map(Object.keys(KINDS).map((kind, group) => [kind, group])); // of the lifted ones
const LAST_GROUP = GROUPS.size;

export class Listing {
  // The arguments are those of the table.
  constructor({ clock, now, admits, anomalyOf }) {
    Object.assign(this, { clock, now, admits, anomalyOf });
    this.anomaliesFirst = true;
    this.calls = new Map(); // key → record: all that the page has
    this.fading = new Map(); // key → { record, end, until }: ended calls, by the time they go
    this.order = new Order(COLUMNS[DEFAULT_SORT.column].rank, DEFAULT_SORT.up); // with fading calls
    this.anomalies = new Map(); // key → kind
    this.lifted = new Set(); // keys of those above all other rows
    this.frozen = null; // the rows while their order is held: see hold.js
    this.places = new Map(); // key → its index in `frozen`
    this.gone = new Map(); // key → { record, end }: calls that ended while the order is held
    this.fresh = new Set(); // keys of calls that came meanwhile
  }

  // -- the order held ----------------------------------------------------------------------

  get held() {
    return this.frozen !== null;
  }

  // Keep rows where they are: those last painted, which are what the user sees. `Order` makes a new
  // array for a new order, so this one stays as it is.
  hold(painted = this.order.rows) {
    const here = ({ key }) => this.record(key) !== undefined;
    this.freeze(painted.every(here) ? painted : painted.filter(here));
    for (const [key, { record, end }] of this.fading) this.gone.set(key, { record, end });
    for (const { key } of this.order.rows) if (!this.places.has(key)) this.fresh.add(key);
  }

  freeze(rows) {
    this.frozen = rows;
    this.places = new Map(rows.map(({ key }, index) => [key, index]));
  }

  release() {
    this.frozen = null;
    for (const kept of [this.places, this.gone, this.fresh]) kept.clear();
  }

  // How many calls are not shown because the order is held.
  get waiting() {
    return this.fresh.size;
  }

  // The index of a call in `rows`, or −1.
  index(key) {
    return this.held ? this.places.get(key) ?? -1 : this.order.index(key);
  }

  // How an ended call that is still a row ended; undefined for a live one.
  endOf(key) {
    return (this.fading.get(key) ?? this.gone.get(key))?.end;
  }

  // -- the calls ---------------------------------------------------------------------------

  // `change` is what `Fold.apply` returned.
  show(calls, change) {
    this.calls = calls;
    if (change === "all") {
      this.fading.clear();
      const { held } = this;
      this.release(); // a snapshot, a pause or another login
      this.rebuild();
      if (held) this.hold();
    } else {
      const time = this.clock();
      for (const [key, record] of change.removed) this.remove(key, record, change.ended[key]);
      for (const key of change.added) this.fading.delete(key);
      for (const key of change.added) this.place(key, calls.get(key), time);
      for (const key of change.changed) this.place(key, calls.get(key), time);
    }
    this.removeFaded(); // also here: a hidden tab paints nothing and would keep all of them
  }

  place(key, record, time) {
    const kind = this.admits(key, record, time) ? this.anomalyOf(record, time) : null;
    if (kind) this.anomalies.set(key, kind);
    else this.anomalies.delete(key);
    if (!kind) this.lifted.delete(key);
    else if (this.anomaliesFirst && this.lifted.size < MAX_LIFTED) this.lifted.add(key);
    if (kind === null) this.order.remove(key);
    else this.order.place(key, record, this.group(key, kind));
    if (!this.held) return;
    this.gone.delete(key);
    if (kind !== null && !this.places.has(key)) this.fresh.add(key);
    else this.fresh.delete(key);
  }

  group(key, kind) {
    return this.lifted.has(key) ? GROUPS.get(kind) : LAST_GROUP;
  }

  // A call that left without an end belongs to another company now: it goes at once.
  remove(key, record, end) {
    this.anomalies.delete(key);
    this.lifted.delete(key);
    this.fresh.delete(key);
    if (this.held && this.places.has(key)) {
      if (end !== undefined) this.gone.set(key, { record, end });
      else this.freeze(this.frozen.filter((row) => row.key !== key));
    }
    if (end === undefined || !this.order.has(key)) this.order.remove(key);
    else this.fading.set(key, { record, end, until: this.now() + FADE_MS });
  }

  removeFaded() {
    const now = this.now();
    for (const [key, { until }] of this.fading) {
      if (until > now) break;
      this.fading.delete(key);
      this.order.remove(key);
    }
  }

  // After a new filter, order or set of calls.
  rebuild() {
    const wanted = [];
    const time = this.clock();
    this.anomalies.clear();
    for (const [key, record] of this.calls) {
      if (!this.admits(key, record, time)) continue;
      const kind = this.anomalyOf(record, time);
      if (kind) this.anomalies.set(key, kind);
      wanted.push([key, record]);
    }
    this.lifted.clear();
    if (this.anomaliesFirst) for (const key of this.worst(MAX_LIFTED)) this.lifted.add(key);
    for (const row of wanted) row.push(this.group(row[0], this.anomalies.get(row[0])));
    for (const [key, { record }] of this.fading) {
      if (this.admits(key, record, time)) wanted.push([key, record, LAST_GROUP]);
    }
    this.order.replace(wanted);
  }

  // Keys of the oldest anomalies: one of each kind in turn, so that a kind with thousands leaves
  // room for the others.
  worst(most) {
    const kinds = new Map(Object.keys(KINDS).map((kind) => [kind, []]));
    for (const [key, kind] of this.anomalies) {
      kinds.get(kind).push([this.calls.get(key)?.setup_at ?? 0, key]);
    }
    for (const calls of kinds.values()) calls.sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1));
    const found = [];
    for (let turn = 0; turn < most; turn += 1) {
      for (const calls of kinds.values()) {
        if (turn < calls.length && found.length < most) found.push(calls[turn][1]);
      }
    }
    return found;
  }

  // As time passes, a call may become an anomaly, or may pass a filter by time.
  recheck(filteredByTime) {
    const free = this.anomaliesFirst && this.lifted.size < Math.min(MAX_LIFTED, this.anomalies.size);
    if (filteredByTime || free) {
      this.rebuild();
      return;
    }
    const time = this.clock();
    for (const { key } of this.order.rows) {
      const record = this.calls.get(key);
      if (record !== undefined && this.anomalyOf(record, time) !== (this.anomalies.get(key) ?? "")) {
        this.place(key, record, time);
      }
    }
  }

  // How many calls have each kind of anomaly: kind → count, for kinds with a call.
  counts() {
    const found = new Map();
    for (const kind of this.anomalies.values()) found.set(kind, (found.get(kind) ?? 0) + 1);
    return found;
  }

  sort(column, up) {
    this.order = new Order(COLUMNS[column].rank, up);
    this.rebuild();
  }

  get rows() {
    return this.frozen ?? this.order.rows;
  }

  get count() {
    return this.order.size - this.fading.size;
  }

  // [key, record] of the calls that match the filters, in the table's order.
  *matching() {
    for (const { key } of this.order.rows) {
      if (!this.fading.has(key)) yield [key, this.record(key)];
    }
  }

  record(key) {
    return this.calls.get(key) ?? this.fading.get(key)?.record ?? this.gone.get(key)?.record;
  }
}
