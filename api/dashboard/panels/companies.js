// The companies, the worst first: for roles that see all calls.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { counted, plain, whole } from "../text/text.js";
import { companyLink, make, tableWith } from "./dom.js";
import { FigureRow, titles } from "./figure-row.js";
import { KeyedRows } from "./keyed-rows.js";

export class Companies {
  constructor() {
    this.table = tableWith(t("panels.companies"), [t("companies.company"), ...titles(t("companies.live"))]);
    this.table.className = "ranked companies";
    this.note = make("p");
    this.element = make("div", {}, this.note, this.table,
      make("p", { className: "rules", textContent: t("companies.rules") }));
    this.rows = new KeyedRows(this.table.tBodies[0], (company) => new FigureRow(
      companyLink(company, t("companies.show_calls", { company: plain(company) })), "companies.of",
    ));
  }

  forget() {
    this.rows.forget();
    setText(this.note, "");
  }

  draw({ companies, more, more_live: live }) {
    this.rows.show(companies, ({ company_id: company }) => company);
    this.table.hidden = companies.length === 0;
    setText(this.note, companies.length === 0 ? t("companies.none")
      : more === 0 ? "" : counted("companies.more", more, { live: whole(live) }));
  }
}
