// What is filtered, as a file: CSV (RFC 4180) for people with spreadsheets, JSON for programs.

import { masked } from "./text.js";

const FIELDS = [
  "state", "from", "to", "company_id", "trunk", "attempt", "direction", "node", "setup_at",
  "progress_at", "answered_at", "sip_code", "sip_reason", "unconfirmed", "call_id", "key",
];
const NUMBERS = new Set(["from", "to"]);
const TIME = /_at$/;
const URIS = ["from_uri", "to_uri"];

// A spreadsheet runs what begins like this; a telephone number may, a formula may not. Pure.
function safe(text) {
  return /^[=+\-@\t\r]/.test(text) && !/^\+?\d+$/.test(text) ? `'${text}` : text;
}

function cell(name, value, mask) {
  if (value === undefined) return "";
  const text = TIME.test(name) ? new Date(value).toISOString()
    : mask && NUMBERS.has(name) ? masked(value) : String(value);
  const kept = safe(text);
  return /[",\r\n]/.test(kept) ? `"${kept.replaceAll('"', '""')}"` : kept;
}

// `calls` yields [key, record].
export function csv(calls, mask) {
  const lines = [FIELDS.join(",")];
  for (const [key, record] of calls) {
    lines.push(FIELDS.map((name) => cell(name, name === "key" ? key : record[name], mask)).join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}

export function json(calls, mask, about) {
  const told = {};
  for (const [key, record] of calls) {
    told[key] = { ...record };
    if (!mask) continue;
    for (const name of [...NUMBERS, ...URIS]) {
      if (told[key][name] !== undefined) told[key][name] = masked(told[key][name]);
    }
  }
  return JSON.stringify({ ...about, calls: told }, null, 1);
}

export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
