// The page's address holds the view: filters, sorting and wall mode. A link to it shows a colleague
// the same view.

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

// `filters` and `panel`: [name, value] pairs. The browser's history gets no entry.
export function write(filters, { column, up }, wall, panel) {
  const pairs = [...filters];
  if (column !== DEFAULT_SORT.column || up !== DEFAULT_SORT.up) {
    pairs.push(["sort", `${up ? "" : "-"}${column}`]);
  }
  if (wall) pairs.push(["wall", "1"]);
  pairs.push(...panel);
  const query = new URLSearchParams(pairs).toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
}
