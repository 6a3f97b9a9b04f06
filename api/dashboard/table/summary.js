// The line about the table: how many calls it shows, and what stands in its place if there are none.

import { byId, setText } from "../elements.js";
import { whole } from "../text/text.js";

export function showSummary(listing, filters, { connection, fold }) {
  const { count } = listing;
  const { size } = listing.anomalies;
  const marked = size > 0 ? `, ${whole(size)} ${size === 1 ? "anomaly" : "anomalies"} ⚠` : "";
  setText(byId("shown"), `${whole(count)} shown${marked}`);
  const known = ["live", "stale"].includes(connection.state) && fold.complete;
  byId("empty").hidden = count > 0 || !known;
  byId("clear").hidden = !filters.any;
  setText(
    byId("empty-text"), filters.any ? "No live calls match these filters." : "No live calls.",
  );
}
