// The trunks, the worst first: calls against capacity, quality, and why attempts fail.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { gap, length, percent, plain, whole } from "../text/text.js";
import { make, tableWith, trunkLink } from "./dom.js";
import { name as nameOfCode, phrase, isFault } from "./responses.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_CODES = 4; // of a row; the tooltip names all
const or = (value, format) => (value === null ? "–" : format(value));

export class Trunks {
  constructor() {
    this.table = tableWith(t("panels.trunks"), [
      t("trunks.trunk"), t("trunks.live"), t("trunks.peak"), t("trunks.seizures"), t("trunks.asr"),
      t("trunks.asr_line"), t("trunks.ner"), t("trunks.acd"), t("trunks.pdd"), t("trunks.codes"),
    ]);
    this.table.className = "trunks";
    this.notes = make("div", { className: "notes" });
    this.element = make("div", {}, this.notes, this.table,
      make("p", { className: "rules", textContent: t("trunks.rules") }));
    this.rows = new Map(); // trunk → its row
  }

  forget() {
    this.rows.clear();
    this.table.tBodies[0].replaceChildren();
    this.notes.replaceChildren();
  }

  draw({ trunks, others, file }) {
    const body = this.table.tBodies[0];
    const known = new Set(trunks.map(({ trunk }) => trunk));
    for (const [trunk, row] of this.rows) {
      if (known.has(trunk)) continue;
      row.element.remove();
      this.rows.delete(trunk);
    }
    // Under the pointer or the focus no row moves: one hits the trunk that one aims at.
    const frozen = body.matches(":hover") || body.contains(document.activeElement);
    let place = body.firstElementChild;
    for (const figures of trunks) {
      const row = this.rows.get(figures.trunk) ?? new Row(figures.trunk);
      if (!this.rows.has(figures.trunk)) {
        this.rows.set(figures.trunk, row);
        body.append(row.element);
      }
      if (!frozen && row.element !== place) body.insertBefore(row.element, place);
      place = row.element.nextElementSibling;
      row.show(figures);
    }
    this.table.hidden = trunks.length === 0;
    this.note(trunks.length === 0, others, file);
  }

  note(none, others, file) {
    const lines = [];
    if (none) lines.push(make("p", { textContent: t("trunks.none") }));
    if (others !== null && others.live > 0) {
      lines.push(make("p", { textContent: t("trunks.others", { live: whole(others.live) }) }));
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

class Row {
  constructor(trunk) {
    const cell = (className, ...children) => make("td", { className }, ...children);
    this.sign = make("span", { className: "sign" });
    this.about = make("small");
    this.alarms = make("small", { className: "alarms" });
    this.live = make("span");
    this.meter = make("div", { className: "meter" });
    this.path = document.createElementNS(SVG, "path");
    const spark = document.createElementNS(SVG, "svg");
    spark.setAttribute("viewBox", "0 0 100 24");
    spark.setAttribute("preserveAspectRatio", "none");
    spark.setAttribute("aria-hidden", "true");
    spark.append(this.path);
    this.cells = ["peak", "seizures", "asr", "ner", "acd", "pdd", "codes"].reduce(
      (cells, name) => ({ ...cells, [name]: cell(name === "codes" ? "codes" : "number") }), {},
    );
    const { peak, seizures, asr, ner, acd, pdd, codes } = this.cells;
    const title = t("trunks.show_calls", { trunk: plain(trunk) });
    const head = make("th", { scope: "row" }, this.sign, trunkLink(trunk, title), this.about, this.alarms);
    this.element = make("tr", {}, head, cell("live", this.live, this.meter), peak, seizures, asr,
      cell("line", spark), ner, acd, pdd, codes);
  }

  show(figures) {
    const { level, live, capacity, attempts } = figures;
    this.element.dataset.level = level;
    this.sign.title = level && t(`alarm.${level}`);
    const about = [figures.name, figures.country].filter(Boolean).map(plain).join(" · ");
    setText(this.about, about);
    setText(this.alarms, figures.alarms.map(alarmText).join(" · "));
    setText(this.live, capacity === undefined ? whole(live) : `${whole(live)} / ${whole(capacity)}`);
    this.meter.hidden = capacity === undefined;
    this.meter.style.setProperty("--now", `${Math.min(100, (100 * live) / (capacity ?? 1))}%`);
    this.meter.style.setProperty("--peak", `${Math.min(100, (100 * figures.peak) / (capacity ?? 1))}%`);
    const texts = {
      peak: whole(figures.peak), seizures: whole(figures.seizures), asr: or(figures.asr, percent),
      ner: or(figures.ner, percent), acd: or(figures.acd_seconds, (s) => length(s * 1000)),
      pdd: or(figures.pdd_ms, gap),
    };
    for (const [name, text] of Object.entries(texts)) setText(this.cells[name], text);
    this.cells.asr.title = this.cells.ner.title = t("trunks.of", { count: whole(attempts) });
    this.path.setAttribute("d", line(figures.asr_by_minute));
    this.showCodes(figures.codes);
  }

  showCodes(codes) {
    const found = Object.entries(codes).sort(([, a], [, b]) => b - a);
    const text = (all) => all.map(([code, count]) => `${nameOfCode(code)} ×${whole(count)}`).join("  ");
    if (this.cells.codes.dataset.codes === text(found)) return;
    this.cells.codes.dataset.codes = text(found);
    this.cells.codes.title = found.map(([code, count]) => `${nameOfCode(code)} ${phrase(code)}: ${whole(count)}`).join("\n");
    this.cells.codes.replaceChildren(...found.slice(0, MOST_CODES).map(([code, count]) => make(
      "span", { className: isFault(code) ? "code fault" : "code", textContent: `${nameOfCode(code)} ×${whole(count)}` },
    )), ...(found.length > MOST_CODES ? ["…"] : []));
  }
}

// The path of percentages in a box of 100 × 24: 0 % below, 100 % above, a null is a gap. Pure.
export function line(series) {
  const step = 100 / (series.length - 1);
  let path = "";
  series.forEach((value, index) => {
    if (value === null) return;
    const point = `${(index * step).toFixed(1)},${(22 - value / 5).toFixed(1)}`;
    path += (series[index - 1] ?? null) === null ? `M${point}L${point}` : `L${point}`;
  });
  return path;
}

function alarmText({ rule, level, value, limit }) {
  const text = t(`alarm.${rule}`, { value: percent(value), limit: percent(limit) });
  return `${t(`alarm.${level}`)}: ${text}`;
}
