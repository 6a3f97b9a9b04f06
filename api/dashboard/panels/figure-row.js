// A row of figures about attempts: of a trunk, or of a company.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { counted, gap, length, percent, plain, whole } from "../text/text.js";
import { endedLink, make } from "./dom.js";
import { name as nameOfCode, phrase, isFault } from "./responses.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST_CODES = 4; // of a row; the tooltip names all
const or = (value, format) => (value === null ? "–" : format(value));

// The titles of the columns after the first.
export const titles = (live) => [
  live, t("trunks.peak"), t("trunks.seizures"), t("trunks.asr"), t("trunks.asr_line"),
  t("trunks.ner"), t("trunks.acd"), t("trunks.pdd"), t("trunks.codes"),
];

export class FigureRow {
  // `link`: the name, which leads to the live calls; `of`: the key of the text that says of how many.
  constructor(link, of) {
    this.of = of;
    this.narrow = JSON.parse(link.dataset.view); // to the trunk or company
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
    const head = make("th", { scope: "row" }, this.sign, link, this.about, this.alarms);
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
    this.cells.asr.title = this.cells.ner.title = counted(this.of, attempts);
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
      "span", { className: isFault(code) ? "code fault" : "code" },
      endedLink(code, `${nameOfCode(code)} ×${whole(count)}`, t("failures.show_ended", { code: nameOfCode(code) }), this.narrow),
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
