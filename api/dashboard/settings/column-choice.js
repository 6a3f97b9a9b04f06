// Which columns the table has, in which order and how wide. The preferences keep the user's own
// choice; a link can name other columns, which then last until the user changes them.

import { COLUMNS } from "../table/columns.js";

const MIN_REM = 3;
const MAX_REM = 60;
export const USUAL = Object.keys(COLUMNS).filter((name) => !COLUMNS[name].optional);

const known = (names) => [...new Set(names)].filter((name) => Object.hasOwn(COLUMNS, name));

export class ColumnChoice {
  // `preferences` is changed in place; `changed()` is called after each change.
  constructor(preferences, changed) {
    this.preferences = preferences;
    this.changed = changed;
    this.linked = null; // the columns that the address names
  }

  get names() {
    return this.linked ?? this.preferences.columns;
  }

  // The width of each of `names`, as CSS.
  widths(names) {
    const own = this.preferences.widths;
    return names.map((name) => (own[name] === undefined ? COLUMNS[name].width : `${own[name]}rem`));
  }

  // Take the columns of an address: `columns=state,from,to`.
  read(search) {
    const names = known((new URLSearchParams(search).get("columns") ?? "").split(","));
    this.linked = names.length > 0 ? names : null;
  }

  // What the page's address says of them, as [name, value] pairs; `always`: also the user's own.
  pairs(always = false) {
    return this.linked === null && !always ? [] : [["columns", this.names.join(",")]];
  }

  choose(names) {
    if (names.length === 0) return; // one column at least
    this.preferences.columns = names;
    this.linked = null;
    this.changed();
  }

  show(name, on) {
    if (on === this.names.includes(name)) return;
    if (!on) this.choose(this.names.filter((one) => one !== name));
    else {
      // Where it stands among the columns by default.
      const order = Object.keys(COLUMNS);
      const at = this.names.findIndex((one) => order.indexOf(one) > order.indexOf(name));
      this.choose(at < 0 ? [...this.names, name] : this.names.toSpliced(at, 0, name));
    }
  }

  // Move a column by some places, to the left if `by` is negative.
  move(name, by) {
    const at = this.names.indexOf(name);
    const to = Math.max(0, Math.min(this.names.length - 1, at + by));
    if (at < 0 || to === at) return;
    this.choose(this.names.toSpliced(at, 1).toSpliced(to, 0, name));
  }

  // Move a column to the place of another.
  moveTo(name, other) {
    this.move(name, this.names.indexOf(other) - this.names.indexOf(name));
  }

  // `rem`: the width, in letters of the page's size; null for the automatic one.
  resize(name, rem) {
    const widths = { ...this.preferences.widths };
    if (rem === null || !Number.isFinite(rem)) delete widths[name];
    else widths[name] = Math.round(10 * Math.max(MIN_REM, Math.min(MAX_REM, rem))) / 10;
    this.preferences.widths = widths;
    this.changed();
  }

  reset() {
    this.preferences.widths = {};
    this.choose(USUAL);
  }
}

// The widths of the storage that can be used.
export function soundWidths(stored) {
  return Object.fromEntries(Object.entries(stored ?? {}).filter(([name, rem]) => (
    Object.hasOwn(COLUMNS, name) && rem >= MIN_REM && rem <= MAX_REM)));
}
