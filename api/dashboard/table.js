// The table: tens of thousands of calls, of which only the rows in sight exist.

import { Order } from "./order.js";

const OVERSCAN = 8;
const FADE_MS = 2_500; // how long a call that is over shows why

export const STATES = {
  trying: ["◌", "trying"],
  ringing: ["◔", "ringing"],
  early: ["◑", "early media"],
  answered: ["●", "answered"],
  held: ["❚❚", "on hold"],
};

const DIRECTIONS = { inbound: "← in", outbound: "→ out", internal: "↔ internal" };

export class Table {
  // `clock()` is the server's time as far as it can be vouched for, ms; `now()` is for the fade,
  // which goes on when that stands still; `scroller` scrolls, `body` gets the rows.
  constructor({ scroller, body, columns, clock, now, schedule }) {
    this.scroller = scroller;
    this.body = body;
    this.columns = columns;
    this.clock = clock;
    this.now = now;
    this.schedule = schedule;
    this.calls = new Map();
    this.leaving = new Map(); // key → { record, over, until }, who goes first first
    this.order = new Order(); // of the calls and of those that leave
    this.wanted = "";
    this.found = null; // the keys that hold the wanted text; null: to be found anew
    this.rows = new Map(); // key → row in the document
    this.height = 0;
    this.due = false;
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => {
      this.height = 0; // letters grow with the window
      this.draw();
    }).observe(scroller);
  }

  show(calls, change, ended = {}) {
    this.calls = calls;
    this.found = null;
    if (change === "all") {
      this.leaving.clear();
      this.order.replace(calls);
    } else {
      for (const [key, record] of change.removed) this.leave(key, record, ended[key]);
      for (const key of change.added) this.leaving.delete(key);
      for (const key of change.added) this.order.place(key, calls.get(key));
      for (const key of change.changed) this.order.place(key, calls.get(key));
    }
    this.sweep(); // here too, for a hidden tab paints nothing and would keep them all
    this.draw();
  }

  // A call without a reason is no longer ours to show: it goes at once.
  leave(key, record, over) {
    if (over === undefined) this.order.remove(key);
    else this.leaving.set(key, { record, over, until: this.now() + FADE_MS });
  }

  sweep() {
    const now = this.now();
    for (const [key, { until }] of this.leaving) {
      if (until > now) break;
      this.leaving.delete(key);
      this.order.remove(key);
      this.found = null;
    }
  }

  filter(text) {
    this.wanted = text.trim().toLowerCase();
    this.found = null;
    this.draw();
  }

  head(columns) {
    this.columns = columns;
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.draw();
  }

  draw() {
    if (this.due) return;
    this.due = true;
    this.schedule(() => {
      this.due = false;
      this.paint();
    });
  }

  record(key) {
    return this.calls.get(key) ?? this.leaving.get(key).record;
  }

  wantedKeys() {
    if (!this.wanted) return this.order.keys;
    this.found ??= this.order.keys.filter((key) => this.matches(key, this.record(key)));
    return this.found;
  }

  matches(key, record) {
    const told = [key, record.from, record.to, record.call_id, record.company_id, record.trunk,
      record.node, record.state];
    return told.some((text) => text !== undefined && text.toLowerCase().includes(this.wanted));
  }

  paint() {
    this.sweep();
    const keys = this.wantedKeys();
    const now = this.clock();
    this.height ||= this.measure();
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.height) - OVERSCAN);
    const inSight = Math.ceil(this.scroller.clientHeight / this.height) + 2 * OVERSCAN;
    const shown = keys.slice(first, first + inSight);
    this.discard(new Set(shown));
    this.body.style.height = `${keys.length * this.height}px`; // CSSOM: no style attribute
    let next = this.body.firstElementChild;
    shown.forEach((key, offset) => {
      const row = this.row(key);
      // In the document's order as on the screen, for who has it read aloud.
      if (row === next) next = next.nextElementSibling;
      else this.body.insertBefore(row, next);
      this.fill(row, key, now);
      row.style.transform = `translateY(${(first + offset) * this.height}px)`;
      row.setAttribute("aria-rowindex", String(first + offset + 2));
    });
    this.scroller.parentElement.setAttribute("aria-rowcount", String(keys.length + 1));
  }

  row(key) {
    let row = this.rows.get(key);
    if (row === undefined) {
      row = this.make(key);
      this.rows.set(key, row);
    }
    return row;
  }

  discard(kept) {
    for (const [key, row] of this.rows) {
      if (kept.has(key)) continue;
      row.remove();
      this.rows.delete(key);
    }
  }

  measure() {
    const probe = this.make("");
    this.body.append(probe);
    const { height } = probe.getBoundingClientRect();
    probe.remove();
    return height || 32;
  }

  make(key) {
    const row = document.createElement("div");
    row.setAttribute("role", "row");
    row.className = "call";
    row.dataset.key = key;
    for (const name of this.columns) {
      const cell = document.createElement("span");
      cell.setAttribute("role", "cell");
      cell.className = name;
      row.append(cell);
    }
    return row;
  }

  fill(row, key, now) {
    const gone = this.leaving.get(key);
    const record = this.record(key);
    const state = gone ? "over" : record.state;
    if (row.dataset.state !== state) row.dataset.state = state;
    row.classList.toggle("usual", gone?.over.outcome === "answered");
    row.classList.toggle("unconfirmed", record.unconfirmed === true && !gone);
    this.columns.forEach((name, index) => {
      const text = CELLS[name](record, now, gone);
      const cell = row.children[index];
      if (cell.textContent !== text) cell.textContent = text;
    });
  }
}

// Text only, always through textContent: a caller chooses his name.
const CELLS = {
  state(record, _now, gone) {
    if (gone) return `✕ ${gone.over.outcome.replaceAll("_", " ")}`;
    const [sign, name] = STATES[record.state] ?? ["?", record.state];
    return `${sign} ${name}${record.unconfirmed === true ? " · unconfirmed" : ""}`;
  },
  age: (record, now, gone) => length((gone?.over.ended_at ?? now) - (record.setup_at ?? now)),
  talk: (record, now, gone) =>
    record.answered_at === undefined
      ? ""
      : length((gone?.over.ended_at ?? now) - record.answered_at),
  direction: (record) => DIRECTIONS[record.direction] ?? "",
  from: (record) => record.from ?? "–",
  to: (record) => record.to ?? "–",
  company: (record) => record.company_id ?? "nobody",
  trunk: (record) => (record.trunk ?? "–") + (record.attempt > 1 ? ` (try ${record.attempt})` : ""),
  node: (record) => record.node,
};

export function length(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}
