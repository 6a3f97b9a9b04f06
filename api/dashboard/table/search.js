// The syntax of the search box: `code:486 trunk:gw-a -state:answered >5m +39 02 company:"acme ltd"`.
// Pure.
//
// A call must match every term; a minus before a term excludes what matches it. A term that cannot be
// understood is not applied, and `errors` names it: left out in silence, it would show all calls
// as if they were a few. A word with an unknown field before its colon is searched as a text, because
// a Call-ID may have a colon.

const MAX_TERMS = 40;
const TOKEN = /(?:"[^"]*"?|[^\s"])+/g;
const NUMBER = /^(?=.*\d)[+\d(][\d\s().\-/+]*$/;
const DURATION = /^[<>]=?(?:(?<clock>(?:\d+:)?\d{1,3}:\d\d)|(?<parts>(?:\d+(?:h|min|m|sec|s))+))$/;
const SECONDS = { h: 3600, min: 60, m: 60, sec: 1, s: 1 };
const TEXTS = ["from", "to", "call_id", "company_id", "trunk", "node", "state"];

// A number without its notation: "+39 (02) 111" and "003902111" are both 3902111.
const digits = (text) => text.replace(/[\s().\-/+]/g, "").replace(/^00/, "");
const unquoted = (text) => text.replaceAll('"', "");
const lower = (value) => String(value).toLowerCase();

// What can stand before a colon: field → function of (value, states) that makes a predicate of a
// record, or null if the value means nothing.
const FIELDS = {
  code: (value) => {
    if (value === "none") return (record) => record.sip_code === undefined;
    if (!/^(\d{3}|[1-6]xx|[1-6]\d?\*)$/.test(value)) return null;
    const start = value.replace(/xx|\*/, "");
    return (record) => String(record.sip_code ?? "").startsWith(start);
  },
  state: (value, states) => {
    const state = stateNamed(value, states);
    return state && ((record) => record.state === state);
  },
  direction: (value) => {
    const found = ["inbound", "outbound", "internal"].filter((one) => one.startsWith(value));
    const wanted = value === "in" ? "inbound" : found.length === 1 ? found[0] : null;
    return wanted && ((record) => record.direction === wanted);
  },
  company: (value) => exactly("company_id", value),
  trunk: (value) => exactly("trunk", value),
  node: (value) => exactly("node", value),
  from: (value) => party(["from"], value),
  to: (value) => party(["to"], value),
  mos: (value) => measured("mos", value),
  jitter: (value) => measured("jitter_ms", value),
  loss: (value) => measured("loss_pct", value),
  id: (value) => (record, key) => lower(record.call_id ?? "").includes(value) || lower(key) === value,
};
export const FIELD_NAMES = Object.keys(FIELDS);

// `states`: state of the contract → its name for people; either is understood, also its beginning.
function stateNamed(value, states) {
  const names = ([state, name]) => [state, lower(name), ...lower(name).split(" ")];
  const all = Object.entries(states);
  const exact = all.find((one) => names(one).slice(0, 2).includes(value));
  if (exact) return exact[0];
  const found = all.filter((one) => names(one).some((name) => name.startsWith(value)));
  return value.length > 1 && found.length === 1 ? found[0][0] : null;
}

// The whole name, in any case; "*" stands for any letters, "none" for calls without one.
function exactly(field, value) {
  const parts = value.split("*");
  return (record) => {
    if (record[field] === undefined) return value === "none";
    const name = lower(record[field]);
    return parts.length === 1 ? name === value : fits(name, parts);
  };
}

// "<3.6", ">=30", ">2": calls whose figure is so; "none": those without one. Null for anything else.
function measured(field, value) {
  if (value === "none") return (record) => record[field] === undefined;
  const [, sign, than] = /^([<>]=?)(\d{1,5}(?:\.\d{1,3})?)$/.exec(value) ?? [];
  const fits = {
    "<": (figure) => figure < Number(than), "<=": (figure) => figure <= Number(than),
    ">": (figure) => figure > Number(than), ">=": (figure) => figure >= Number(than),
  }[sign];
  return fits === undefined ? null : (record) => record[field] !== undefined && fits(record[field]);
}

// Whether a name has these parts in turn, the first at its beginning and the last at its end. A
// regular expression could take minutes for a long pattern of a link.
function fits(name, [first, ...rest]) {
  const last = rest.pop();
  if (!name.startsWith(first) || name.length < first.length + last.length) return false;
  if (!name.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= name.length - last.length;
}

// Caller or callee: a number with + or 00 by its beginning, another one by any part, in any
// notation; anything else as a text.
function party(fields, value) {
  const wanted = NUMBER.test(value) ? digits(value) : "";
  const whole = value.startsWith("+");
  const start = whole || value.startsWith("00");
  return (record) => fields.some((field) => {
    if (record[field] === undefined) return false;
    if (!whole && lower(record[field]).includes(value)) return true;
    if (wanted.length < (start ? 1 : 2)) return false;
    const number = digits(record[field]);
    return start ? number.startsWith(wanted) : number.includes(wanted);
  });
}

function anywhere(text) {
  const number = NUMBER.test(text) ? party(["from", "to"], text) : null;
  if (number !== null && text.startsWith("+")) return number;
  return (record, key) => key.toLowerCase().includes(text)
    || TEXTS.some((field) => record[field] !== undefined && lower(record[field]).includes(text))
    || (number !== null && number(record));
}

// ">5m", "<1h30m", ">=02:30": since the answer or else the set-up; null for anything else.
function duration(token) {
  const groups = DURATION.exec(token)?.groups;
  if (groups === undefined) return null;
  const seconds = groups.clock !== undefined
    ? groups.clock.split(":").reduce((sum, part) => 60 * sum + Number(part), 0)
    : [...groups.parts.matchAll(/(\d+)([a-z]+)/g)].reduce((sum, [, count, unit]) => sum + count * SECONDS[unit], 0);
  const limit = seconds * 1000;
  const lasts = (record, now) => now - (record.answered_at ?? record.setup_at ?? now);
  if (token[0] === ">") return (record, _key, now) => lasts(record, now) >= limit;
  return (record, _key, now) => lasts(record, now) < limit;
}

// The tokens of a text: a number written with spaces is one, and so is "> 5m".
function tokens(text) {
  const found = [];
  for (const token of text.toLowerCase().match(TOKEN) ?? []) {
    const last = found.at(-1);
    const open = last?.replace(/^-?(?:from:|to:)?/, "") ?? "";
    if (NUMBER.test(open) && (NUMBER.test(token) || /^[-/.]$/.test(token)) && !token.startsWith("+")) {
      found[found.length - 1] += ` ${token}`;
    } else if (/^-?[<>]=?$/.test(last ?? "")) found[found.length - 1] += token;
    else found.push(token);
  }
  return found;
}

// One term without its minus: { admits, byTime } or { error }, also both: a text key and its values.
function term(token, states) {
  if (/^[<>]/.test(token)) {
    const admits = duration(token);
    return admits ? { admits, byTime: true } : { error: ["search.no_duration", { term: token }] };
  }
  const [, field, rest] = /^([a-z]+):(.*)$/s.exec(token) ?? [];
  if (field === undefined) {
    const text = unquoted(token);
    return text === "" || text === "-" ? { error: ["search.empty", { term: token }] } : { admits: anywhere(text) };
  }
  if (!Object.hasOwn(FIELDS, field)) {
    const error = ["search.no_field", { field, fields: FIELD_NAMES.join(", ") }];
    return { admits: anywhere(unquoted(token)), error };
  }
  const values = (rest.match(/(?:"[^"]*"?|[^,"])+/g) ?? []).map(unquoted).filter((one) => one !== "");
  if (values.length === 0) return { error: ["search.no_value", { term: token }] };
  const any = values.map((value) => FIELDS[field](value, states));
  if (any.includes(null)) return { error: [`search.no_${field}`, { term: token }] };
  return { admits: (record, key) => any.some((one) => one(record, key)) };
}

// Read a search: { admits(key, record, now), byTime, errors, codes }. `now`: ms since the epoch; `byTime`:
// whether the answer changes as time passes; `errors`: [key of a text, values] for each term that is
// not applied as it stands; `codes`: the final SIP responses that it asks for.
export function read(text, states) {
  const all = tokens(text);
  const errors = all.length > MAX_TERMS ? [["search.too_many", { most: MAX_TERMS }]] : [];
  const terms = [];
  const codes = all.flatMap((token) => /^code:([3-6]\d\d)$/.exec(token)?.[1] ?? []);
  let byTime = false;
  for (const token of all.slice(0, MAX_TERMS)) {
    const excludes = token.length > 1 && token.startsWith("-");
    const found = term(excludes ? token.slice(1) : token, states);
    if (found.error) errors.push(found.error);
    if (found.admits) terms.push([found.admits, excludes]);
    byTime ||= found.byTime === true;
  }
  const admits = (key, record, now) =>
    terms.every(([one, excludes]) => one(record, key, now) !== excludes);
  return { admits, byTime, errors, codes };
}
