// Where calls go: countries and areas, the busiest first.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { counted, countryName, length, percent, plain, whole } from "../text/text.js";
import { make, tableWith } from "./dom.js";
import { KeyedRows } from "./keyed-rows.js";

const COLUMNS = ["live", "seizures", "asr", "ner", "acd"];
const or = (value, format) => (value === null ? "–" : format(value));

export class Destinations {
  constructor() {
    const titles = COLUMNS.map((name) => t(`destinations.${name}`));
    this.table = tableWith(t("panels.destinations"), [
      t("destinations.country"), t("destinations.prefix"), t("destinations.kind"), ...titles,
    ]);
    this.table.className = "destinations";
    this.note = make("p");
    this.element = make("div", {}, this.note, this.table,
      make("p", { className: "rules", textContent: t("destinations.rules") }));
    this.rows = new KeyedRows(this.table.tBodies[0], () => new Row());
  }

  forget() {
    this.rows.forget();
    setText(this.note, "");
  }

  draw({ destinations, more }) {
    this.rows.show(destinations, ({ country, prefix, kind }) => JSON.stringify([country, prefix, kind]));
    this.table.hidden = destinations.length === 0;
    setText(this.note, destinations.length === 0 ? t("destinations.none")
      : more === 0 ? "" : counted("destinations.more", more));
  }
}

class Row {
  constructor() {
    this.country = make("th", { scope: "row" });
    this.prefix = make("td");
    this.kind = make("td");
    this.cells = COLUMNS.map(() => make("td", { className: "number" }));
    this.element = make("tr", {}, this.country, this.prefix, this.kind, ...this.cells);
  }

  show(figures) {
    const { country, prefix, kind } = figures;
    this.element.dataset.kind = kind;
    setText(this.country, country === null ? t(`destinations.no_country.${kind === "short" ? "short" : "other"}`)
      : countryName(country));
    setText(this.prefix, prefix === null ? "–" : plain(prefix));
    setText(this.kind, t(`number.${kind}`));
    const texts = [
      whole(figures.live), whole(figures.seizures), or(figures.asr, percent), or(figures.ner, percent),
      or(figures.acd_seconds, (s) => length(s * 1000)),
    ];
    texts.forEach((text, index) => setText(this.cells[index], text));
    this.cells[2].title = this.cells[3].title = counted("companies.of", figures.attempts);
  }
}
