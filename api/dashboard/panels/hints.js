// Hints of fraud: callers whose calls break a rule, and the rules themselves.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { counted, masked, plain, whole } from "../text/text.js";
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

  draw({ hints, more, rules, short_seconds: seconds }) {
    this.seconds = seconds;
    const keyOf = ({ rule, company_id: company, caller, callee }) =>
      JSON.stringify([rule, company, caller, callee]);
    this.rows.show(hints.map((hint) => ({ ...hint, seconds })), keyOf);
    this.table.hidden = hints.length === 0;
    setText(this.note, hints.length === 0 ? t("hints.none")
      : more === 0 ? "" : counted("hints.more", more));
    const lines = Object.entries(rules).map(([rule, limit]) => (limit === 0
      ? t("hints.off", { rule: t(`hints.name.${rule}`) })
      : t(`hints.rule.${rule}`, { limit: whole(limit), seconds: whole(seconds) })));
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

  show({ rule, limit, count, caller, callee, company_id: company, seconds }) {
    this.element.dataset.rule = rule;
    setText(this.why, t(`hints.name.${rule}`));
    this.why.title = t(`hints.rule.${rule}`, { limit: whole(limit), seconds: whole(seconds) });
    const shown = (text) => (text === null ? "–" : plain(this.mask() ? masked(text) : text));
    if (this.caller.textContent !== shown(caller)) {
      const search = [`from:${quoted(caller)}`, ...(callee === null ? [] : [`to:${quoted(callee)}`])];
      this.caller.replaceChildren(
        searchLink(rule === "loops" ? quoted(caller) : search.join(" "), shown(caller), t("hints.show_calls")),
      );
    }
    setText(this.callee, shown(callee));
    setText(this.company, company === null ? "–" : plain(company));
    setText(this.count, whole(count));
  }
}

// A text as one term of the search.
const quoted = (text) => (/^[+\d]+$/.test(text) ? text : `"${text.replaceAll('"', " ")}"`);
