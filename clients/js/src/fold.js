// The fold: what the events of a stream make of the live calls. Pure: no DOM, no clock, no network.
// The same in Python: livestate/client/fold.py; tests/vectors/fold.json binds the two.

/** @typedef {import("./contract.js").CallRecord} CallRecord */
/** @typedef {import("./contract.js").Ending} Ending */
/**
 * What one event changed: keys, and for calls that left their last record too. `ended` says why
 * calls left, by key; a call that moved to another company leaves without it. "all": replaced.
 * @typedef {{ added: string[], changed: string[], removed: [string, CallRecord][],
 *   ended: Record<string, Ending> } | "all"} Change
 */

const MODULUS = 2 ** 53;

/**
 * Sums stay exact: both numbers are below 2^53, their sum may not be.
 * @param {number} a
 * @param {number} b
 */
export function add(a, b) {
  return a >= MODULUS - b ? a - (MODULUS - b) : a + b;
}

/**
 * @param {number} a
 * @param {number} b
 */
export function subtract(a, b) {
  return a >= b ? a - b : a + (MODULUS - b);
}

export class Fold {
  constructor() {
    /** @type {Map<string, CallRecord>} key → record, as the server has it */
    this.calls = new Map();
    this.digest = 0; // sum of the records' v mod 2^53
    /** @type {Map<string, number>} state → how many calls */
    this.states = new Map();
    this.complete = false; // before the first whole snapshot there is nothing to show
    this.id = ""; // the position, <epoch>-<version>: what a new EventSource resumes from
    this.divergences = 0;
    /** @type {{ name: string, part: number, calls: Map<string, any>,
     *   ended: Record<string, Ending> } | null} an event that is not whole yet */
    this.parts = null;
  }

  /**
   * Fold one event in. `id` may be that of an earlier event, as an EventSource gives it.
   * @param {string} name
   * @param {any} data
   * @param {string} [id]
   * @returns {Change | null} null: nothing changed, or the event is not whole yet
   */
  apply(name, data, id) {
    const whole = name === "snapshot" || name === "diff" ? this.joined(name, data) : null;
    const change = whole === null ? null
      : name === "snapshot" ? this.snapshot(whole.calls) : this.diff(whole);
    // Only what was folded moves the position: an id without its event would hide a hole for ever.
    if (id && change !== null) this.id = id;
    return change;
  }

  // All parts of an event as one, with its last part; null before. An event without part numbers
  // is whole. No call is in two parts of a diff. If a part is missing, the rest is ignored, and
  // the next heartbeat's digest differs.
  /**
   * @param {string} name
   * @param {{ part?: number, parts?: number, calls: Record<string, any>,
   *   ended?: Record<string, Ending> }} data
   */
  joined(name, { part = 1, parts = 1, calls, ended }) {
    // Without a prototype, so that "__proto__" is a key like any other.
    if (part === 1) this.parts = { name, part: 0, calls: new Map(), ended: Object.create(null) };
    const known = this.parts;
    if (known === null || known.name !== name || part !== known.part + 1) {
      this.parts = null;
      return null;
    }
    known.part = part;
    for (const [key, record] of Object.entries(calls)) known.calls.set(key, record);
    Object.assign(known.ended, ended);
    if (part < parts) return null;
    this.parts = null;
    return known;
  }

  /**
   * @param {Map<string, CallRecord>} calls
   * @returns {Change}
   */
  snapshot(calls) {
    this.calls = calls;
    this.digest = 0;
    this.states = new Map();
    for (const record of this.calls.values()) this.enter(record);
    this.complete = true;
    return "all";
  }

  /**
   * @param {{ calls: Map<string, any>, ended: Record<string, Ending> }} patch
   * @returns {Change | null}
   */
  diff({ calls, ended }) {
    if (!this.complete) return null;
    /** @type {Exclude<Change, "all">} */
    const change = { added: [], changed: [], removed: [], ended };
    for (const [key, fields] of calls) {
      const known = this.calls.get(key);
      if (known !== undefined) this.leave(known);
      if (fields === null) {
        if (known !== undefined) change.removed.push([key, known]);
        this.calls.delete(key);
        continue;
      }
      const record = known === undefined ? { ...fields } : { ...known, ...fields };
      this.calls.set(key, record);
      this.enter(record);
      (known === undefined ? change.added : change.changed).push(key);
    }
    return change;
  }

  /** @param {CallRecord} record */
  enter({ v, state }) {
    this.digest = add(this.digest, v);
    this.states.set(state, (this.states.get(state) ?? 0) + 1);
  }

  /** @param {CallRecord} record */
  leave({ v, state }) {
    this.digest = subtract(this.digest, v);
    this.states.set(state, (this.states.get(state) ?? 0) - 1);
  }

  // Another login, for instance: nothing is left.
  clear() {
    this.calls = new Map();
    this.digest = 0;
    this.states = new Map();
    this.doubt();
  }

  /**
   * Whether a heartbeat's count and digest are those of the calls here.
   * @param {{ calls: number, digest: number }} heartbeat
   */
  agrees({ calls, digest }) {
    const same = !this.complete || (calls === this.calls.size && digest === this.digest);
    if (!same) this.divergences += 1;
    return same;
  }

  // The calls here are wrong: they stay to be shown, greyed, but only a snapshot is folded next.
  doubt() {
    this.complete = false;
    this.id = "";
    this.parts = null;
  }
}
