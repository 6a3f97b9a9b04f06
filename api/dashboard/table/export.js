// The listed calls as a file: CSV (RFC 4180) for spreadsheets, JSON for programs.

import { escaped, masked, plain } from "../text/text.js";

const FIELDS = [
  "state", "from", "to", "company_id", "trunk", "attempt", "direction", "node", "setup_at",
  "progress_at", "answered_at", "sip_code", "sip_reason", "mos", "jitter_ms", "loss_pct", "unconfirmed", "call_id", "key",
];
// Of the picture as a whole, in every line of a CSV: as of when it is, and whether it was live.
const ABOUT = ["as_of", "truth"];
const NUMBERS = new Set(["from", "to"]);
const TIME = /_at$/;
const URIS = ["from_uri", "to_uri"];

// Characters that begin a formula in a spreadsheet: =, +, -, @, their full-width forms (used in
// Japan, China and Korea) and similar signs.
const FORMULA = "=+\\-@\uFF1D\uFF0B\uFF0D\uFF20\uFE66\uFE62\uFE63\uFE6B\u2212\u207A\u208A\u207C\u208C";
const LEAD = "[\\s\"'\u00A0]*";
const BEGINS = new RegExp(`^${LEAD}[${FORMULA}]`, "u");
// In some locales ";" or another character separates cells, also inside quotes: the text behind it
// is then a cell of its own.
const PART = new RegExp(`([,;|\\t])(?=${LEAD}[${FORMULA}])`, "gu");
const BOM = "\uFEFF"; // without it, Excel reads Latin-1

// A text that no spreadsheet runs as a formula. A telephone number with a plus stays as it is.
function safe(text) {
  const quoted = plain(text).replace(PART, "$1'");
  return BEGINS.test(quoted) && !/^\+?\d+$/.test(quoted) ? `'${quoted}` : quoted;
}

// Empty if a node has sent a time beyond what a Date can hold (ECMA-262: 8.64e15 ms).
function isoTime(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

function cell(name, value, mask) {
  if (value === undefined) return "";
  const text = TIME.test(name) ? isoTime(value)
    : mask && NUMBERS.has(name) ? masked(value) : String(value);
  const inert = safe(text);
  return /[",;|\t\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

// `calls` yields [key, record]; `mask` hides numbers; `about` is { as_of, truth }: the time of the
// picture, ms since the epoch, and the word of the status bar.
export function csv(calls, mask, { as_of, truth }) {
  const lines = [[...FIELDS, ...ABOUT].join(",")];
  const about = `${isoTime(as_of)},${cell("truth", truth, false)}`;
  for (const [key, record] of calls) {
    const cells = FIELDS.map((name) => cell(name, name === "key" ? key : record[name], mask));
    lines.push(`${cells.join(",")},${about}`);
  }
  return `${BOM}${lines.join("\r\n")}\r\n`;
}

// `about`: fields beside `calls`.
export function json(calls, mask, about) {
  const records = {};
  for (const [key, record] of calls) {
    records[key] = { ...record };
    if (!mask) continue;
    for (const name of [...NUMBERS, ...URIS]) {
      if (records[key][name] !== undefined) records[key][name] = masked(records[key][name]);
    }
  }
  return escaped(JSON.stringify({ ...about, calls: records }, null, 1));
}

const saving = new Set(); // object URLs of files that the browser may still read

// Save the calls as a file named after `about`: its time, and its truth unless it was live. `kind`: csv
// or json.
export function download(kind, calls, mask, about) {
  const time = new Date(about.as_of).toISOString().slice(0, 19).replaceAll(":", "");
  const text = kind === "csv" ? csv(calls, mask, about) : json(calls, mask, about);
  const truth = about.truth === "live" ? "" : `-${about.truth.replaceAll(/[^a-z]+/g, "-")}`;
  save(`live-calls-${time}Z${truth}.${kind}`, kind === "csv" ? "text/csv" : "application/json", text);
}

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  saving.add(link.href);
  setTimeout(() => release(link.href), 10_000);
}

// Another login: withdraw the files.
export function forget() {
  for (const url of saving) release(url);
}

function release(url) {
  URL.revokeObjectURL(url);
  saving.delete(url);
}
