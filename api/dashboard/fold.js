// The fold: what the events of a stream make. Pure: no DOM, no clock, no network.
// The same in Python: livestate/client.py; tests/vectors/fold.json binds the two.

const MODULUS = 2 ** 53;

// Sums stay exact: both numbers are below 2^53, their sum may not be.
export function add(a, b) {
  return a >= MODULUS - b ? a - (MODULUS - b) : a + b;
}

export function subtract(a, b) {
  return a >= b ? a - b : a + (MODULUS - b);
}

export class Fold {
  constructor() {
    this.calls = new Map(); // key → record, as the server has it
    this.digest = 0; // sum of the records' v mod 2^53
    this.states = new Map(); // state → how many calls
    this.complete = false; // before the first whole snapshot there is nothing to show
    this.id = ""; // where we are, <epoch>-<version>: what a revived EventSource goes on from
    this.divergences = 0;
    this.parts = null; // of a snapshot that is not whole yet
    this.part = 0;
  }

  // One event; what it changed: { added, changed, removed } as keys, or "all".
  apply(name, data, id) {
    const change =
      name === "snapshot" ? this.snapshot(data) : name === "diff" ? this.diff(data.calls) : null;
    // Only what was folded moves us: an id taken without its frame would hide a hole for ever.
    if (id && change !== null) this.id = id;
    return change;
  }

  snapshot({ part, parts, calls }) {
    if (part === 1) {
      this.parts = new Map();
      this.part = 0;
    }
    if (this.parts === null || part !== this.part + 1) {
      this.parts = null; // a part is missing: this snapshot will never be whole
      return null;
    }
    this.part = part;
    for (const [key, record] of Object.entries(calls)) this.parts.set(key, record);
    if (part < parts) return null;
    this.calls = this.parts;
    this.parts = null;
    this.digest = 0;
    this.states = new Map();
    for (const record of this.calls.values()) this.enter(record);
    this.complete = true;
    return "all";
  }

  diff(patch) {
    if (!this.complete) return null;
    const change = { added: [], changed: [], removed: [] };
    for (const [key, fields] of Object.entries(patch)) {
      const known = this.calls.get(key);
      if (known !== undefined) this.leave(known);
      if (fields === null) {
        if (this.calls.delete(key)) change.removed.push([key, known]);
        continue;
      }
      const record = known === undefined ? { ...fields } : { ...known, ...fields };
      this.calls.set(key, record);
      this.enter(record);
      (known === undefined ? change.added : change.changed).push(key);
    }
    return change;
  }

  enter({ v, state }) {
    this.digest = add(this.digest, v);
    this.states.set(state, (this.states.get(state) ?? 0) + 1);
  }

  leave({ v, state }) {
    this.digest = subtract(this.digest, v);
    this.states.set(state, this.states.get(state) - 1);
  }

  // Nothing is here, and nobody vouches for that.
  clear() {
    this.calls = new Map();
    this.digest = 0;
    this.states = new Map();
    this.doubt();
  }

  // Whether a heartbeat's count and digest are ours: else we show something wrong.
  agrees({ calls, digest }) {
    const same = !this.complete || (calls === this.calls.size && digest === this.digest);
    if (!same) this.divergences += 1;
    return same;
  }

  // What is here is wrong: still something to show, greyed, but only a snapshot can mend it.
  doubt() {
    this.complete = false;
    this.id = "";
    this.parts = null;
  }
}
