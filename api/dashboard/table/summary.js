// The line about the table: how many calls it shows, its anomalies by reason, and what stands in its
// place if there are none.

import { byId, setText } from "../elements.js";
import { makeLink } from "../links.js";
import { t } from "../text/catalogue.js";
import { whole } from "../text/text.js";
import { KINDS } from "./anomalies.js";

export class Summary {
  // `showOnly(kind)` is called for the button of a kind of anomalies.
  constructor(filters, showOnly) {
    this.filters = filters;
    this.buttons = new Map(Object.keys(KINDS).map((kind) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "anomalies";
      button.dataset.kind = kind;
      button.hidden = true;
      button.addEventListener("click", () => showOnly(kind));
      return [kind, button];
    }));
    this.offered = null;
    this.ended = document.createElement("p");
    byId("empty-text").after(this.ended);
    byId("anomalies").replaceChildren(...this.buttons.values());
  }

  show(listing, { connection, fold }) {
    const { filters } = this;
    setText(byId("shown"), t("table.shown", { count: whole(listing.count) }));
    const counts = listing.counts();
    for (const [kind, button] of this.buttons) {
      const count = counts.get(kind) ?? 0;
      const chosen = filters.why === kind;
      button.hidden = count === 0 || chosen; // a chip removes the chosen one
      setText(button, count === 0 ? "" : t("anomaly.count", {
        count: whole(count), what: KINDS[kind](filters.limits),
      }));
    }
    const address = filters.ignored.length === 0 ? []
      : [t("filter.not_applied", { parts: filters.ignored.join(" ") })];
    setText(byId("ignored"), [...address, ...filters.misread()].join(" "));
    const known = ["live", "stale"].includes(connection.state) && fold.complete;
    byId("empty").hidden = listing.count > 0 || !known;
    byId("clear").hidden = !filters.any;
    setText(byId("empty-text"), emptyText(filters, connection));
    this.offerEnded(listing.count === 0 ? filters.terms.codes[0] : undefined);
  }

  // A call leaves the table with its final response, so a search for one finds few: lead to those
  // that it ended.
  offerEnded(code) {
    if (code === this.offered) return;
    this.offered = code;
    this.ended.hidden = code === undefined;
    this.ended.replaceChildren();
    if (code !== undefined) this.ended.append(makeLink({ panel: "ended", code, q: null }, t("links.ended_by", { code })));
  }
}

function emptyText(filters, { state, staleReason }) {
  if (state === "stale" && staleReason === "no_node") return t("table.no_node");
  return t(filters.any ? "table.no_match" : "table.none");
}
