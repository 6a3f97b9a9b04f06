// The line about the table: how many calls it shows, its anomalies by reason, and what stands in its
// place if there are none.

import { byId, setText } from "../elements.js";
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
    byId("anomalies").replaceChildren(...this.buttons.values());
  }

  show(listing, { connection, fold }) {
    const { filters } = this;
    setText(byId("shown"), `${whole(listing.count)} shown`);
    const counts = listing.counts();
    for (const [kind, button] of this.buttons) {
      const count = counts.get(kind) ?? 0;
      const chosen = filters.why === kind;
      button.hidden = count === 0 || chosen; // a chip removes the chosen one
      setText(button, count === 0 ? "" : `${whole(count)} ${KINDS[kind](filters.limits)}`);
    }
    const address = filters.ignored.length === 0 ? []
      : [`This part of the address is not applied. ${filters.ignored.join(" ")}`];
    setText(byId("ignored"), [...address, ...filters.misread()].join(" "));
    const known = ["live", "stale"].includes(connection.state) && fold.complete;
    byId("empty").hidden = listing.count > 0 || !known;
    byId("clear").hidden = !filters.any;
    setText(byId("empty-text"), emptyText(filters, connection));
  }
}

function emptyText(filters, { state, staleReason }) {
  if (state === "stale" && staleReason === "no_node") return "No SIP node has been heard yet.";
  return filters.any ? "No live calls match these filters." : "No live calls.";
}
