// The trunks, the worst first: calls against capacity, quality, and why attempts fail.

import { t } from "../text/catalogue.js";
import { counted, plain, whole } from "../text/text.js";
import { make, tableWith, trunkLink } from "./dom.js";
import { FigureRow, titles } from "./figure-row.js";
import { KeyedRows } from "./keyed-rows.js";

export class Trunks {
  constructor() {
    this.table = tableWith(t("panels.trunks"), [t("trunks.trunk"), ...titles(t("trunks.live"))]);
    this.table.className = "ranked trunks";
    this.notes = make("div", { className: "notes" });
    this.element = make("div", {}, this.notes, this.table,
      make("p", { className: "rules", textContent: t("trunks.rules") }));
    this.rows = new KeyedRows(this.table.tBodies[0], (trunk) => new FigureRow(
      trunkLink(trunk, t("trunks.show_calls", { trunk: plain(trunk) })), "trunks.of",
    ));
  }

  forget() {
    this.rows.forget();
    this.notes.replaceChildren();
  }

  draw({ trunks, others, file }) {
    this.rows.show(trunks, ({ trunk }) => trunk);
    this.table.hidden = trunks.length === 0;
    this.note(trunks.length === 0, others, file);
  }

  note(none, others, file) {
    const lines = [];
    if (none) lines.push(make("p", { textContent: t("trunks.none") }));
    if (others !== null && others.live > 0) {
      lines.push(make("p", { textContent: counted("trunks.others", others.live) }));
    }
    if (file?.trouble) {
      lines.push(make("p", { className: "bad", textContent: t("trunks.unreadable", { reason: file.trouble }) }));
    }
    if (file?.bad) {
      const bad = file.bad_lines.map((one) => make("li", { textContent: t("trunks.bad_line", one) }));
      const summary = make("summary", { textContent: t("trunks.bad_lines", { count: whole(file.bad) }) });
      const open = this.notes.querySelector("details")?.open ?? false;
      lines.push(make("details", { className: "bad", open }, summary, make("ul", {}, ...bad)));
    }
    // An unchanged note stays: a user may be reading it, or have the focus in it.
    const next = make("div", {}, ...lines);
    if (next.textContent !== this.notes.textContent) this.notes.replaceChildren(...lines);
  }
}
