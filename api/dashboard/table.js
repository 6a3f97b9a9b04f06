// The table: tens of thousands of calls, of which only the rows in sight exist.

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
  // `clock()` is the server's time, ms; `scroller` scrolls, `body` gets the rows.
  constructor({ scroller, body, columns, clock, schedule }) {
    this.scroller = scroller;
    this.body = body;
    this.columns = columns;
    this.clock = clock;
    this.schedule = schedule;
    this.calls = new Map();
    this.leaving = new Map(); // key → { record, over, until }
    this.order = [];
    this.stale = true; // the order must be made anew
    this.wanted = "";
    this.rows = new Map(); // key → row in the document
    this.height = 0;
    this.due = false;
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(scroller);
  }

  show(calls, change, ended = {}) {
    this.calls = calls;
    if (change === "all") {
      this.leaving.clear();
    } else if (change !== null) {
      for (const [key, record] of change.removed) {
        const over = ended[key];
        if (over !== undefined) this.leaving.set(key, { record, over, until: this.clock() + FADE_MS });
      }
      for (const key of change.added) this.leaving.delete(key);
    }
    if (change === "all" || change?.added.length || change?.removed.length || this.wanted) {
      this.stale = true;
    }
    this.draw();
  }

  filter(text) {
    this.wanted = text.trim().toLowerCase();
    this.stale = true;
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

  sort() {
    const now = this.clock();
    for (const [key, gone] of this.leaving) if (gone.until <= now) this.leaving.delete(key);
    const rows = [];
    for (const [key, record] of this.calls) if (this.matches(key, record)) rows.push([key, record]);
    for (const [key, { record }] of this.leaving) {
      if (!this.calls.has(key) && this.matches(key, record)) rows.push([key, record]);
    }
    rows.sort((a, b) => (b[1].setup_at ?? 0) - (a[1].setup_at ?? 0) || (a[0] < b[0] ? -1 : 1));
    this.order = rows.map(([key]) => key);
    this.stale = false;
  }

  matches(key, record) {
    if (!this.wanted) return true;
    const told = [key, record.from, record.to, record.call_id, record.company_id, record.trunk,
      record.node, record.state];
    return told.some((text) => text !== undefined && text.toLowerCase().includes(this.wanted));
  }

  paint() {
    const now = this.clock();
    if (this.leaving.size) {
      for (const gone of this.leaving.values()) if (gone.until <= now) this.stale = true;
    }
    if (this.stale) this.sort();
    this.height ||= this.measure();
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.height) - OVERSCAN);
    const inSight = Math.ceil(this.scroller.clientHeight / this.height) + 2 * OVERSCAN;
    const last = Math.min(this.order.length, first + inSight);
    const seen = new Set();
    this.body.style.height = `${this.order.length * this.height}px`; // CSSOM: no style attribute
    for (let index = first; index < last; index += 1) {
      const key = this.order[index];
      seen.add(key);
      let row = this.rows.get(key);
      if (row === undefined) {
        row = this.make(key);
        this.rows.set(key, row);
        this.body.append(row);
      }
      this.fill(row, key, now);
      row.style.transform = `translateY(${index * this.height}px)`;
      row.setAttribute("aria-rowindex", String(index + 2));
    }
    for (const [key, row] of this.rows) {
      if (!seen.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    this.body.parentElement.setAttribute("aria-rowcount", String(this.order.length + 1));
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
    const gone = this.calls.has(key) ? undefined : this.leaving.get(key);
    const record = gone?.record ?? this.calls.get(key);
    if (record === undefined) return;
    const state = gone ? "over" : record.state;
    if (row.dataset.state !== state) row.dataset.state = state;
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
    if (gone) return `✕ ${gone.over.outcome.replace("_", " ")}`;
    const [sign, name] = STATES[record.state] ?? ["?", record.state];
    return `${sign} ${name}${record.unconfirmed === true ? " ?" : ""}`;
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
