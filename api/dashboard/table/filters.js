// Which calls to show: read from the page's address, and partly applied by the service. Pure.
//
// The service takes a number of values of a limited length. What is beyond that the page filters by
// itself, and what it cannot filter by it names in `ignored`: a filter that is left out in silence
// would show all calls under the address of a few.

import { anomalyOf, KINDS, LIMITS } from "./anomalies.js";
import { t } from "../text/catalogue.js";
import { length, plain } from "../text/text.js";
import { read } from "./search.js";
import { valuesIn, written } from "./values.js";

// Live states of the contract (client/contract.js) → name, in sorting order. signs.css has a sign for
// each.
export const STATES = Object.fromEntries(
  ["trying", "ringing", "early", "answered", "held"].map((state) => [state, t(`state.${state}`)]),
);
export const FIELDS = ["state", "company_id", "trunk", "direction", "node"];
const ON_SERVER = ["state", "company_id", "trunk"];
const SERVER_VALUES = 20; // of one field: the limit of the service
const SERVER_CHARS = 64; // of a value: the limit of the service
const MAX_VALUES = 500; // of one field: the page's own limit

const shortened = (text) => plain(text.length > 40 ? `${text.slice(0, 40)}…` : text);

export class Filters {
  constructor(search = "") {
    this.limits = LIMITS; // of anomalies; main.js sets those of the preferences
    this.read(search);
  }

  // Take the filters of an address instead of the present ones.
  read(search) {
    const query = new URLSearchParams(search);
    this.values = new Map(FIELDS.map((field) => [field, new Set()]));
    this.ignored = []; // what the address asks for and the page cannot do, as texts
    for (const field of FIELDS) {
      for (const value of query.getAll(field).flatMap(valuesIn)) this.add(field, value);
    }
    const longer = query.get("longer") ?? "0";
    this.longer = /^\d{1,9}$/.test(longer) ? Number(longer) : 0; // seconds
    if (String(this.longer) !== longer) this.ignore("longer", longer, "filter.not_seconds");
    const why = query.get("why") ?? "";
    this.why = Object.hasOwn(KINDS, why) ? why : ""; // only calls with this anomaly
    if (this.why !== why) this.ignore("why", why, "filter.no_anomaly");
    this.search(query.get("q") ?? "");
  }

  add(field, value) {
    const values = this.values.get(field);
    if (!value || values.has(value)) return;
    if (field === "state" && !Object.hasOwn(STATES, value)) this.ignore(field, value, "filter.no_state");
    else if (values.size >= MAX_VALUES) this.ignore(field, value, "filter.too_many");
    else values.add(value);
  }

  ignore(field, value, why) {
    if (this.ignored.length < 3) {
      this.ignored.push(t(why, { field, value: shortened(value), most: MAX_VALUES }));
    }
  }

  search(text) {
    this.text = text.trim();
    this.terms = read(this.text, STATES);
  }

  // The terms of the search that are not applied as they stand, as texts; three at most.
  misread() {
    const states = Object.values(STATES).join(", ");
    return this.terms.errors.slice(0, 3).map(([key, values]) => t(key, Object.fromEntries(
      Object.entries({ ...values, states }).map(([name, value]) => [
        name, name === "states" || name === "fields" ? value : shortened(String(value)),
      ]),
    )));
  }

  clear() {
    for (const values of this.values.values()) values.clear();
    this.longer = 0;
    this.why = "";
    this.ignored = [];
    this.search("");
  }

  get any() {
    return this.text !== "" || this.longer > 0 || this.why !== "" || this.ignored.length > 0
      || [...this.values.values()].some((values) => values.size > 0);
  }

  // Whether the list of calls changes as time passes.
  get byTime() {
    return this.longer > 0 || this.why !== "" || this.terms.byTime;
  }

  get companies() {
    return [...this.values.get("company_id")];
  }

  // The filters that the service applies, as [name, value] pairs. It takes one company at most: by
  // several the page itself filters all calls, and adds up their figures.
  onServer() {
    const pairs = [];
    if (this.companies.length > 1) return pairs;
    for (const field of ON_SERVER) {
      const values = [...this.values.get(field)];
      const fits = values.every((value) => value.length <= SERVER_CHARS);
      const most = field === "company_id" ? 1 : SERVER_VALUES;
      if (values.length === 0 || values.length > most || !fits) continue;
      // The service takes one company as it is, and a list of states or trunks by commas.
      pairs.push([field, field === "company_id" ? values[0] : values.map(written).join(",")]);
    }
    return pairs;
  }

  // All filters, for the page's address.
  pairs() {
    const pairs = [];
    for (const [field, values] of this.values) {
      for (const value of values) pairs.push([field, written(value)]);
    }
    if (this.longer) pairs.push(["longer", String(this.longer)]);
    if (this.why) pairs.push(["why", this.why]);
    if (this.text) pairs.push(["q", this.text]);
    return pairs;
  }

  // The filters in words, for a person.
  words() {
    const parts = [];
    for (const [field, values] of this.values) {
      const names = [...values].map((value) => (field === "state" ? STATES[value] : plain(value)));
      const shown = names.length <= 3 ? names.join(t("words.or")) : t("words.values", { count: names.length });
      if (names.length > 0) parts.push(t(`words.${field}`, { values: shown }));
    }
    if (this.longer) parts.push(t("words.longer", { time: length(this.longer * 1000) }));
    if (this.why) parts.push(KINDS[this.why](this.limits));
    if (this.text) parts.push(t("words.text", { text: plain(this.text) }));
    return parts.join(", ");
  }

  // Whether a call is shown. `now`: ms since the epoch.
  admits(key, record, now) {
    for (const [field, values] of this.values) {
      if (values.size > 0 && !values.has(record[field])) return false;
    }
    if (this.longer && now - (record.answered_at ?? record.setup_at ?? now) < this.longer * 1000) {
      return false;
    }
    if (this.why && anomalyOf(record, now, this.limits) !== this.why) return false;
    return this.text === "" || this.terms.admits(key, record, now);
  }
}
