// Which calls to show: what the address bar says, what of it the server can narrow by. Pure.

export const STATES = {
  trying: ["◌", "trying"],
  ringing: ["◔", "ringing"],
  early: ["◑", "early media"],
  answered: ["●", "answered"],
  held: ["❚❚", "on hold"],
};
export const FIELDS = ["state", "company_id", "trunk", "direction", "node"];
const ON_SERVER = ["state", "company_id", "trunk"];
const MOST_VALUES = 20; // the server takes no more of one field
const MOST_LETTERS = 64;

const digits = (text) => text.replace(/[\s().\-/+]/g, "").replace(/^00/, "");

export class Filters {
  constructor(search = "") {
    const told = new URLSearchParams(search);
    this.values = new Map(FIELDS.map((field) => [field, new Set()]));
    for (const field of FIELDS) {
      for (const value of told.getAll(field).flatMap((one) => one.split(","))) this.add(field, value);
    }
    this.longer = Math.max(0, Number.parseInt(told.get("longer") ?? "0", 10) || 0); // seconds
    this.search(told.get("q") ?? "");
  }

  // A state that does not exist would make the server refuse the stream, so it is not taken.
  add(field, value) {
    const values = this.values.get(field);
    const known = field !== "state" || Object.hasOwn(STATES, value);
    if (value && value.length <= MOST_LETTERS && known && values.size < MOST_VALUES) {
      values.add(value);
    }
  }

  search(text) {
    this.text = text.trim().toLowerCase();
    const number = digits(this.text);
    this.number = /^\d{2,}$/.test(number) ? number : ""; // however it was written
  }

  clear() {
    for (const values of this.values.values()) values.clear();
    this.longer = 0;
    this.search("");
  }

  get any() {
    return this.text !== "" || this.longer > 0
      || [...this.values.values()].some((values) => values.size > 0);
  }

  // What the server narrows the stream by. It takes one company, so several are chosen from here.
  onServer() {
    const pairs = [];
    for (const field of ON_SERVER) {
      const values = [...this.values.get(field)];
      const fits = values.every((value) => !value.includes(","));
      if (values.length === 0 || !fits || (field === "company_id" && values.length > 1)) continue;
      pairs.push([field, values.join(",")]);
    }
    return pairs;
  }

  // All of it as the page's address has it.
  pairs() {
    const pairs = [];
    for (const [field, values] of this.values) {
      for (const value of values) pairs.push([field, value]);
    }
    if (this.longer) pairs.push(["longer", String(this.longer)]);
    if (this.text) pairs.push(["q", this.text]);
    return pairs;
  }

  admits(key, record, now) {
    for (const [field, values] of this.values) {
      if (values.size > 0 && !values.has(record[field])) return false;
    }
    if (this.longer && now - (record.answered_at ?? record.setup_at ?? now) < this.longer * 1000) {
      return false;
    }
    return this.text === "" || this.finds(key, record);
  }

  finds(key, record) {
    const wanted = this.text;
    for (const text of [record.from, record.to, record.call_id, record.company_id, record.trunk,
      record.node, record.state, key]) {
      if (text !== undefined && text.toLowerCase().includes(wanted)) return true;
    }
    return this.number !== "" && [record.from, record.to].some(
      (text) => text !== undefined && digits(text).includes(this.number),
    );
  }
}
