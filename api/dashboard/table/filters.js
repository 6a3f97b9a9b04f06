// Which calls to show: read from the page's address, and partly applied by the service. Pure.

// Live states of the contract (client/contract.js) → sign and name, in sorting order.
export const STATES = {
  trying: ["◌", "trying"],
  ringing: ["◔", "ringing"],
  early: ["◑", "early media"],
  answered: ["●", "answered"],
  held: ["❚❚", "on hold"],
};
export const FIELDS = ["state", "company_id", "trunk", "direction", "node"];
const ON_SERVER = ["state", "company_id", "trunk"];
const MAX_VALUES = 20; // of one field: the limit of the service
const MAX_CHARS = 64; // of a value: the limit of the service

const digits = (text) => text.replace(/[\s().\-/+]/g, "").replace(/^00/, "");

export class Filters {
  constructor(search = "") {
    const query = new URLSearchParams(search);
    this.values = new Map(FIELDS.map((field) => [field, new Set()]));
    for (const field of FIELDS) {
      for (const value of query.getAll(field).flatMap((one) => one.split(","))) this.add(field, value);
    }
    this.longer = Math.max(0, Number.parseInt(query.get("longer") ?? "0", 10) || 0); // seconds
    this.search(query.get("q") ?? "");
  }

  // The service would refuse a stream with an unknown state, so it is ignored.
  add(field, value) {
    const values = this.values.get(field);
    const known = field !== "state" || Object.hasOwn(STATES, value);
    if (value && value.length <= MAX_CHARS && known && values.size < MAX_VALUES) {
      values.add(value);
    }
  }

  search(text) {
    this.text = text.trim().toLowerCase();
    const number = digits(this.text);
    this.number = /^\d{2,}$/.test(number) ? number : ""; // in any notation
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

  // The filters that the service applies, as [name, value] pairs. It takes one company at most, so
  // the page itself filters by several.
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

  // All filters, for the page's address.
  pairs() {
    const pairs = [];
    for (const [field, values] of this.values) {
      for (const value of values) pairs.push([field, value]);
    }
    if (this.longer) pairs.push(["longer", String(this.longer)]);
    if (this.text) pairs.push(["q", this.text]);
    return pairs;
  }

  // Whether a call is shown. `now`: ms since the epoch.
  admits(key, record, now) {
    for (const [field, values] of this.values) {
      if (values.size > 0 && !values.has(record[field])) return false;
    }
    if (this.longer && now - (record.answered_at ?? record.setup_at ?? now) < this.longer * 1000) {
      return false;
    }
    return this.text === "" || this.contains(key, record);
  }

  contains(key, record) {
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
