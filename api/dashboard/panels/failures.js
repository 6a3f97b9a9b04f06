// Why calls fail: how often each SIP response or outcome ended an attempt, and on which trunks.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { percent, whole } from "../text/text.js";
import { endedLink, make, tableWith } from "./dom.js";
import { isFault, name as nameOfCode, phrase } from "./responses.js";

const MOST_TRUNKS = 6; // of a response, those that sent it most

export class Failures {
  constructor() {
    this.table = tableWith(t("panels.failures"), [
      t("failures.response"), t("failures.count"), t("failures.share"), t("failures.trunks"),
    ]);
    this.table.className = "failures";
    this.summary = make("p");
    this.element = make("div", {}, this.summary, this.table);
    this.shown = "";
  }

  forget() {
    this.shown = "";
    this.table.tBodies[0].replaceChildren();
    setText(this.summary, "");
  }

  draw(data) {
    const rows = tally(data);
    const sum = (field) => everyone(data).reduce((total, one) => total + one[field], 0);
    const [attempts, answered, faults] = [sum("attempts"), sum("answered"), sum("faults")];
    const failed = rows.reduce((total, { count }) => total + count, 0);
    setText(this.summary, attempts === 0 ? t("failures.nothing")
      : failed === 0 ? t("failures.none") : t("failures.answered", {
        answered: whole(answered), attempts: whole(attempts), failed: whole(failed), faults: whole(faults),
      }));
    this.table.hidden = rows.length === 0;
    const body = this.table.tBodies[0];
    // Under the pointer or the focus nothing moves; the figures above are of now.
    const busy = body.matches(":hover") || body.contains(document.activeElement);
    const next = JSON.stringify(rows);
    if (next === this.shown || (busy && this.shown !== "")) return;
    this.shown = next;
    body.replaceChildren(...rows.map((row) => draw(row, failed, rows[0].count)));
  }
}

const everyone = ({ trunks, without_trunk: without, others }) =>
  [...trunks, without, others].filter((one) => one !== null);

// The responses, the most frequent first: [{ code, count, trunks: [[trunk or null, count], …] }].
export function tally(data) {
  const found = new Map();
  for (const one of everyone(data)) {
    const trunk = one.trunk ?? (one === data.others ? "others" : null);
    for (const [code, count] of Object.entries(one.codes)) {
      const row = found.get(code) ?? { code, count: 0, trunks: [] };
      row.count += count;
      row.trunks.push([trunk, count, one.trunk !== undefined]);
      found.set(code, row);
    }
  }
  const rows = [...found.values()].sort((a, b) => b.count - a.count || a.code.localeCompare(b.code));
  for (const row of rows) row.trunks.sort(([, a], [, b]) => b - a);
  return rows;
}

function draw({ code, count, trunks }, all, most) {
  const bar = make("div", { className: "bar" });
  bar.style.setProperty("--share", `${(100 * count) / most}%`);
  const ended = endedLink(code, nameOfCode(code), t("failures.show_ended", { code: nameOfCode(code) }));
  const head = make("th", { scope: "row" }, ended, ` ${phrase(code)} `);
  if (isFault(code)) head.append(make("small", { textContent: t("failures.fault") }));
  const named = trunks.slice(0, MOST_TRUNKS).map(([trunk, times, real]) => make("span",
    { className: "code" },
    real ? endedLink(code, trunk, t("failures.show_ended", { code: nameOfCode(code) }), { trunk })
      : t(trunk === null ? "failures.no_trunk" : "failures.other_trunks"),
    ` ×${whole(times)}`));
  if (trunks.length > MOST_TRUNKS) named.push("…");
  const row = make("tr", {}, head, make("td", { className: "number", textContent: whole(count) }),
    make("td", { className: "share" }, bar, percent((100 * count) / all)),
    make("td", { className: "codes" }, ...named));
  row.dataset.code = code;
  row.dataset.fault = String(isFault(code));
  return row;
}
