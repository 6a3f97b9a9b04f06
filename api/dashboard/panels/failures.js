// Why calls fail: how often each SIP response or outcome ended an attempt, and on which trunks. Of the
// trunks that the page is filtered by, or of all; a line above leads to one trunk or back to all.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { makeLink } from "../links.js";
import { percent, plain, whole } from "../text/text.js";
import { endedLink, make, tableWith } from "./dom.js";
import { isFault, name as nameOfCode, phrase } from "./responses.js";

const MOST_TRUNKS = 6; // of a response, those that sent it most
const MOST_LINKS = 12; // in the line of trunks

export class Failures {
  // `trunks()`: those that the page is filtered by.
  constructor({ trunks }) {
    this.trunks = trunks;
    this.table = tableWith(t("panels.failures"), [
      t("failures.response"), t("failures.count"), t("failures.share"), t("failures.trunks"),
    ]);
    this.table.className = "failures";
    this.summary = make("p");
    this.choice = make("p", { className: "codes" });
    this.element = make("div", {}, this.summary, this.choice, this.table);
    this.shown = "";
    this.chosen = "";
  }

  forget() {
    this.shown = "";
    this.chosen = "";
    this.table.tBodies[0].replaceChildren();
    this.choice.replaceChildren();
    setText(this.summary, "");
  }

  draw(all) {
    const chosen = this.trunks();
    const data = ofTrunks(all, chosen);
    const rows = tally(data);
    this.drawChoice(all, chosen);
    const sum = (field) => everyone(data).reduce((total, one) => total + one[field], 0);
    const [attempts, answered, faults] = [sum("attempts"), sum("answered"), sum("faults")];
    const failed = rows.reduce((total, { count }) => total + count, 0);
    const unnamed = chosen.find((name) => all.others !== null && !all.trunks.some(({ trunk }) => trunk === name));
    setText(this.summary, attempts === 0 && unnamed !== undefined
      ? t("failures.counted_together", { trunk: plain(unnamed) }) : attempts === 0 ? t("failures.nothing")
      : failed === 0 ? t("failures.none") : t("failures.answered", {
        answered: whole(answered), attempts: whole(attempts), failed: whole(failed), faults: whole(faults),
      }));
    this.table.hidden = rows.length === 0;
    const body = this.table.tBodies[0];
    // Under the pointer or the focus nothing moves; the figures above are of now.
    const busy = body.matches(":hover") || body.contains(document.activeElement);
    const next = JSON.stringify(rows);
    const filter = JSON.stringify(chosen);
    if (filter === this.chosen && (next === this.shown || (busy && this.shown !== ""))) return;
    this.shown = next;
    this.chosen = filter;
    body.replaceChildren(...rows.map((row) => draw(row, failed, rows[0].count)));
  }

  // The trunks with most attempts that were not answered, each a link to its own histogram.
  drawChoice(data, chosen) {
    const counts = data.trunks.map(({ trunk, codes }) => [trunk, Object.values(codes).reduce((a, b) => a + b, 0)])
      .filter(([trunk, count]) => count > 0 || chosen.includes(trunk));
    counts.sort(([a, one], [b, other]) => chosen.includes(b) - chosen.includes(a) || other - one || (a < b ? -1 : 1));
    const found = counts.slice(0, MOST_LINKS);
    const next = JSON.stringify([found, chosen]);
    if (next === this.choice.dataset.shown) return;
    if (this.choice.matches(":hover") && filterOf(this.choice.dataset.shown) === JSON.stringify(chosen)) return;
    this.choice.dataset.shown = next;
    this.choice.hidden = found.length === 0 && chosen.length === 0;
    const link = (trunk, text, title, on) => {
      const made = makeLink({ panel: "failures", trunk }, text, title);
      if (on) made.setAttribute("aria-current", "true");
      return made;
    };
    this.choice.replaceChildren(t("failures.by_trunk"), " ", make("span", { className: "code" },
      link(null, t("failures.all_trunks"), "", chosen.length === 0)), ...found.map(([trunk, count]) => make(
      "span", { className: "code" },
      link(trunk, trunk, t("failures.show_trunk", { trunk: plain(trunk) }), chosen.includes(trunk)), ` ×${whole(count)}`,
    )));
  }
}

const filterOf = (shown) => (shown ? JSON.stringify(JSON.parse(shown)[1]) : "");

// The document as if there were these trunks only; without any, all.
export function ofTrunks(data, chosen) {
  if (chosen.length === 0) return data;
  const trunks = data.trunks.filter(({ trunk }) => chosen.includes(trunk));
  return { ...data, trunks, without_trunk: null, others: null };
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
