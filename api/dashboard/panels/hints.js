// Hints of fraud: callers whose calls break a rule, and the rules themselves.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { counted, countryName, masked, plain, whole } from "../text/text.js";
import { make, searchLink, tableWith } from "./dom.js";
import { KeyedRows } from "./keyed-rows.js";

export class Hints {
  // `mask()`: whether numbers are hidden.
  constructor({ mask }) {
    this.table = tableWith(t("panels.hints"), [
      t("hints.why"), t("hints.caller"), t("hints.callee"), t("hints.company"), t("hints.count"),
    ]);
    this.table.className = "hints";
    this.note = make("p");
    this.rules = make("ul", { className: "rules" });
    this.element = make("div", {}, this.note, this.table,
      make("p", { className: "rules", textContent: t("hints.about") }), this.rules);
    this.rows = new KeyedRows(this.table.tBodies[0], () => new Row(mask));
  }

  forget() {
    this.rows.forget();
    this.rules.replaceChildren();
    setText(this.note, "");
  }

  draw({ hints, more, rules, short_seconds: short, risk_countries: risky, history_days: days }) {
    const values = { seconds: whole(short), days: whole(days), countries: risky.map(countryName).join(", ") };
    const keyOf = ({ rule, company_id: company, caller, callee, country }) =>
      JSON.stringify([rule, company, caller, callee, country]);
    this.rows.show(hints.map((hint) => ({ ...hint, values })), keyOf);
    this.table.hidden = hints.length === 0;
    setText(this.note, hints.length === 0 ? t("hints.none")
      : more === 0 ? "" : counted("hints.more", more));
    const lines = Object.entries(rules).map(([rule, limit]) => (limit === 0
      ? t("hints.off", { rule: t(`hints.name.${rule}`) })
      : t(`hints.rule.${rule}`, { ...values, limit: whole(limit) })));
    if (this.rules.textContent === lines.join("")) return;
    this.rules.replaceChildren(...lines.map((textContent) => make("li", { textContent })));
  }
}

class Row {
  constructor(mask) {
    this.mask = mask;
    this.why = make("th", { scope: "row" });
    [this.caller, this.callee, this.company] = [0, 1, 2].map(() => make("td"));
    this.count = make("td", { className: "number" });
    this.element = make("tr", {}, this.why, this.caller, this.callee, this.company, this.count);
  }

  show({ rule, limit, count, caller, callee, country, company_id: company, values }) {
    this.element.dataset.rule = rule;
    setText(this.why, t(`hints.name.${rule}`));
    this.why.title = t(`hints.rule.${rule}`, { ...values, limit: whole(limit) });
    const shown = (text) => (text === null ? "–" : plain(this.mask() ? masked(text) : text));
    if (this.caller.textContent !== shown(caller)) {
      const search = [`from:${quoted(caller)}`, ...(callee === null ? [] : [`to:${quoted(callee)}`])];
      this.caller.replaceChildren(
        searchLink(rule === "loops" ? quoted(caller) : search.join(" "), shown(caller), t("hints.show_calls")),
      );
    }
    setText(this.callee, country === null ? shown(callee) : countryName(country));
    setText(this.company, company === null ? "–" : plain(company));
    setText(this.count, rule === "talk" ? counted("hints.minutes", count) : whole(count));
  }
}

// A text as one term of the search.
const quoted = (text) => (/^[+\d]+$/.test(text) ? text : `"${text.replaceAll('"', " ")}"`);
