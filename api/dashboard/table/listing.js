// The calls that the table lists: those that the filters admit, in order, plus ended calls that
// still show their outcome for some seconds. No DOM.

import { COLUMNS } from "./columns.js";
import { DEFAULT_SORT } from "../address.js";
import { Order } from "./order.js";

export const FADE_MS = 4_000; // how long an ended call stays

export class Listing {
  // The arguments are those of the table.
  constructor({ clock, now, admits, isAnomaly }) {
    Object.assign(this, { clock, now, admits, isAnomaly });
    this.anomaliesFirst = true;
    this.calls = new Map(); // key → record: all that the page has
    this.fading = new Map(); // key → { record, end, until }: ended calls, by the time they go
    this.order = new Order(COLUMNS[DEFAULT_SORT.column].rank, DEFAULT_SORT.up); // with fading calls
    this.anomalies = new Set(); // keys
  }

  // `change` is what `Fold.apply` returned.
  show(calls, change) {
    this.calls = calls;
    if (change === "all") {
      this.fading.clear();
      this.rebuild();
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
    if (!this.admits(key, record, time)) {
      this.anomalies.delete(key);
      this.order.remove(key);
      return;
    }
    const anomaly = this.isAnomaly(record, time);
    if (anomaly) this.anomalies.add(key);
    else this.anomalies.delete(key);
    this.order.place(key, record, anomaly && this.anomaliesFirst);
  }

  // A call that left without an end belongs to another company now: it goes at once.
  remove(key, record, end) {
    this.anomalies.delete(key);
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
      const anomaly = this.isAnomaly(record, time);
      if (anomaly) this.anomalies.add(key);
      wanted.push([key, record, anomaly && this.anomaliesFirst]);
    }
    for (const [key, { record }] of this.fading) {
      if (this.admits(key, record, time)) wanted.push([key, record, false]);
    }
    this.order.replace(wanted);
  }

  // As time passes, a call may become an anomaly, or long enough for a filter by duration.
  recheck(filteredByDuration) {
    if (filteredByDuration) {
      this.rebuild();
      return;
    }
    const time = this.clock();
    for (const { key } of this.order.rows) {
      const record = this.calls.get(key);
      if (record !== undefined && this.isAnomaly(record, time) !== this.anomalies.has(key)) {
        this.place(key, record, time);
      }
    }
  }

  sort(column, up) {
    this.order = new Order(COLUMNS[column].rank, up);
    this.rebuild();
  }

  get rows() {
    return this.order.rows;
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
    return this.calls.get(key) ?? this.fading.get(key)?.record;
  }
}
