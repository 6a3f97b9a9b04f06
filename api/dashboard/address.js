// The page's address holds the view: filters, sorting, wall mode, panel and the open call. A link to it
// shows a colleague the same view.

import { COLUMNS } from "./table/columns.js";

export const DEFAULT_SORT = { column: "age", up: true };

// `sort=column`, or `sort=-column` for descending order; null without a known column.
export function sortIn(search) {
  const match = /^(-?)(\w+)$/.exec(new URLSearchParams(search).get("sort") ?? "");
  if (match === null || !Object.hasOwn(COLUMNS, match[2])) return null;
  return { column: match[2], up: match[1] === "" };
}

export function isWallIn(search) {
  return new URLSearchParams(search).get("wall") === "1";
}

const KEY = /^[\w-]{1,64}$/;

// The call that the address opens: { key, callId, since }, null without one. A link keeps the Call-ID
// and since when the call was up (ms since the epoch): the way to its CDR once it is forgotten.
export function callIn(search) {
  const query = new URLSearchParams(search);
  const key = query.get("call") ?? "";
  if (!KEY.test(key)) return null;
  const since = query.get("since") ?? "";
  return {
    key,
    callId: query.get("call_id") ?? undefined,
    since: /^\d{1,15}$/.test(since) ? Number(since) : undefined,
  };
}

// The same as [name, value] pairs.
export function callPairs({ key, callId, since }) {
  const pairs = [["call", key]];
  if (callId !== undefined) pairs.push(["call_id", callId]);
  if (since !== undefined) pairs.push(["since", String(since)]);
  return pairs;
}

// `filters`, `panel` and `call`: [name, value] pairs. The browser's history gets no entry.
export function write(filters, { column, up }, wall, panel, call = []) {
  const pairs = [...filters];
  if (column !== DEFAULT_SORT.column || up !== DEFAULT_SORT.up) {
    pairs.push(["sort", `${up ? "" : "-"}${column}`]);
  }
  if (wall) pairs.push(["wall", "1"]);
  pairs.push(...panel, ...call);
  const query = new URLSearchParams(pairs).toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
}
