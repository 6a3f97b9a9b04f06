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

// The query of a view: "?state=held&sort=-age", or "". `filters` and `more`: [name, value] pairs.
export function queryOf(filters, { column, up }, wall, more) {
  const pairs = [...filters];
  if (column !== DEFAULT_SORT.column || up !== DEFAULT_SORT.up) {
    pairs.push(["sort", `${up ? "" : "-"}${column}`]);
  }
  if (wall) pairs.push(["wall", "1"]);
  pairs.push(...more);
  // What no view holds, and every view keeps: the language (text/catalogue.js), and how often a wall
  // shows another view (settings/rotation.js).
  const present = new URLSearchParams(location.search);
  for (const name of wall ? ["rotate", "lang"] : ["lang"]) {
    if (present.has(name)) pairs.push([name, present.get(name)]);
  }
  return pairs.length === 0 ? "" : `?${new URLSearchParams(pairs)}`;
}

// The view that a wall returns to (settings/wall.js), as a query; null without one. It is kept with the
// entry of the history, so a reload does not make the present view the wall's own.
export const home = () => (history.state?.owner === owner() ? history.state.home ?? null : null);

export function setHome(query) {
  history.replaceState({ owner: owner(), home: query }, "", location.href);
}

// The page's address is that of the present view. The browser's history gets no entry. `wall`: whether
// the view is one of a wall; a desk returns to nothing by itself.
export function write(query, wall) {
  history.replaceState({ owner: owner(), home: wall ? home() : null }, "", query || location.pathname);
}

// A link was followed: the view before stays in the browser's history, so Back leads to it.
export function push(href) {
  history.pushState({ owner: owner(), home: home() }, "", href);
}

// `show(search)` is called when Back or Forward leads to another view of this login. Those of a login
// before may name its companies, so they are not shown: `rewrite()` writes the present one instead.
export function onBack(show, rewrite) {
  setHome(home());
  addEventListener("popstate", ({ state }) => {
    if (state?.owner === owner()) show(location.search);
    else rewrite();
  });
}

// Another login: its history begins anew.
export function disown() {
  sessionStorage.removeItem(OWNER);
}

const OWNER = "livestate-history";

// Which entries of the history are of the present login of this tab; a reload keeps it.
function owner() {
  try {
    const known = sessionStorage.getItem(OWNER);
    if (known !== null) return known;
    sessionStorage.setItem(OWNER, String(Math.random()));
    return sessionStorage.getItem(OWNER);
  } catch {
    return ""; // the browser forbids storage
  }
}

// Without `lang`: the language is that of the settings again.
export function forgetLanguage() {
  const query = new URLSearchParams(location.search);
  query.delete("lang");
  write(query.size > 0 ? `?${query}` : "", isWallIn(location.search));
}
