// The tiles: one figure each, its last quarter of an hour as a line, and its alarm. An alarm is a
// colour, a sign (signs.css) and a word, so colours are not needed to read it. The service judges: the
// colours are those of its raised alarms, the same on every page.

import { setText } from "../elements.js";
import { aim, alone } from "../links.js";
import { t } from "../text/catalogue.js";
import { counted, gap, length, percent, tenths, whole } from "../text/text.js";

const seconds = (value) => gap(value * 1000);

export const TILES = {
  concurrent: { title: t("tile.concurrent"), id: "total", series: "concurrent", format: whole },
  waiting: { title: t("tile.waiting"), id: "count-ringing", format: whole },
  answered: { title: t("tile.answered"), id: "count-answered", format: whole },
  held: { title: t("tile.held"), id: "count-held", format: whole },
  cps: { title: t("tile.cps"), series: "cps", format: tenths },
  asr: { title: t("tile.asr"), series: "asr", format: percent },
  ner: { title: t("tile.ner"), series: "ner", format: percent },
  acd_seconds: { title: t("tile.acd_seconds"), series: "acd_seconds", format: seconds },
  pdd_p95_ms: { title: t("tile.pdd_p95_ms"), series: "pdd_ms", format: gap },
  longest: { title: t("tile.longest"), format: (value) => length(value * 1000) },
};
// The link of each figure: the parameters that it changes in the address; see links.js.
const VIEWS = {
  concurrent: {},
  waiting: { state: ["trying", "ringing", "early"] },
  answered: { state: "answered" },
  held: { state: "held" },
  asr: { panel: "failures" },
  ner: { panel: "failures" },
  acd_seconds: { panel: "ended" },
  longest: { state: ["answered", "held"], sort: "-talk" },
};
// figure → its rules of the service, see livestate/state/alarms/rules.py.
const RULES = {
  concurrent: ["live_calls"], cps: ["cps"], asr: ["asr", "asr_drop"], ner: ["ner"],
  pdd_p95_ms: ["pdd_p95_ms"],
};
const LOW_IS_BAD = new Set(["asr", "ner"]);
const WINDOW_SECONDS = 900; // over which figures are measured; less after a start of the service
const SVG = "http://www.w3.org/2000/svg";

// The runs of points of a line in a box of 100 × 24, from the first value on. A null is a gap
// between two runs. Pure.
export function points(window) {
  const series = window.slice(window.findIndex((value) => value !== null));
  const known = series.filter((value) => value !== null);
  const most = Math.max(...known, 0) || 1;
  const step = 100 / Math.max(1, series.length - 1);
  const runs = [[]];
  series.forEach((value, index) => {
    if (value === null) runs.push([]);
    else runs.at(-1).push(`${(index * step).toFixed(1)},${(22 - (20 * value) / most).toFixed(1)}`);
  });
  // A single point is doubled, because a path of one point is invisible.
  return runs.filter((run) => run.length > 0).map((run) => (run.length > 1 ? run : [run[0], run[0]]));
}

export class Tiles {
  constructor(list) {
    this.levels = new Map();
    this.tiles = new Map(Object.entries(TILES).map(([name, tile]) => [name, make(name, tile)]));
    list.replaceChildren(...[...this.tiles.values()].map(({ element }) => element));
  }

  // `values`: figure → number or null; `figures`: the last `kpi` event.
  show(values, figures) {
    for (const [name, tile] of this.tiles) {
      const value = values[name];
      const { format } = TILES[name];
      const { level, rule, limit } = raisedOf(name, figures.alarms?.figures);
      const known = value === null || value === undefined ? "–" : format(value);
      this.levels.set(name, { level, text: level && `${TILES[name].title} ${known}` });
      setText(tile.value, known);
      if (tile.element.dataset.level !== level) tile.element.dataset.level = level;
      setText(tile.note, level ? alarmText(level, rule, format(limit)) : note(name, value, figures));
    }
  }

  // `series`: figure → its values over time, null where there was none.
  draw(series) {
    for (const [name, { lines }] of this.tiles) {
      const { series: of } = TILES[name];
      if (of === undefined) continue;
      lines.setAttribute(
        "d", points(series[of] ?? []).map((run) => `M${run.join("L")}`).join(""),
      );
    }
  }

  // The figures with a raised alarm, as [figure, level, text].
  alarms() {
    return [...this.levels].filter(([, { level }]) => level)
      .map(([name, { level, text }]) => [name, level, text]);
  }
}

// The worst raised alarm of a figure: { level: "" | "warning" | "alarm", rule, limit }. `raised`: rule →
// [level, limit]. Pure.
export function raisedOf(name, raised = {}) {
  const found = (RULES[name] ?? []).filter((rule) => raised[rule] !== undefined)
    .map((rule) => ({ rule, level: raised[rule][0], limit: raised[rule][1] }));
  return found.find(({ level }) => level === "alarm") ?? found[0] ?? { level: "", rule: "", limit: null };
}

// "alarm < 25 %"; of a drop, the limit is the value of the hour before.
function alarmText(level, rule, limit) {
  if (rule === "asr_drop") return t("tile.dropped", { level: t(`alarm.${level}`), limit });
  return `${t(`alarm.${level}`)} ${LOW_IS_BAD.has(rule) ? "<" : "≥"} ${limit}`;
}

function make(name, { title, id, series }) {
  const element = document.createElement("div");
  element.className = "tile";
  element.dataset.kpi = name;
  const term = document.createElement("dt");
  const link = document.createElement("a");
  link.href = `static/definitions.html#${name}`;
  link.target = "_blank";
  link.rel = "noopener";
  link.textContent = title;
  term.append(link);
  const definition = document.createElement("dd");
  const view = VIEWS[name];
  const value = document.createElement(view === undefined ? "span" : "a");
  if (view !== undefined) {
    aim(value, alone(view));
    value.title = t(view.panel === undefined ? "links.calls" : `links.${view.panel}`);
  }
  value.className = "value";
  value.id = id ?? `kpi-${name}`;
  value.textContent = "–";
  definition.append(value);
  const lines = document.createElementNS(SVG, "path");
  if (series !== undefined) {
    const spark = document.createElementNS(SVG, "svg");
    spark.setAttribute("viewBox", "0 0 100 24");
    spark.setAttribute("preserveAspectRatio", "none");
    spark.setAttribute("aria-hidden", "true");
    spark.append(lines);
    definition.append(spark);
  }
  const note = document.createElement("small");
  definition.append(note);
  element.append(term, definition);
  return { element, value, note, lines };
}

const peak = (value) => t("tile.peak", { value: whole(value) });

// The small line below a value: the calls that it is measured on.
function note(name, value, figures) {
  const young = figures.window_seconds < WINDOW_SECONDS;
  const of = (count) => (count
    ? counted(young ? "tile.of_in" : "tile.of", count, { time: length(figures.window_seconds * 1000) })
    : t("tile.no_calls"));
  if (figures.concurrent_peak === undefined) return "";
  // The count of calls may be a moment ahead of the `kpi` event.
  if (name === "concurrent") return peak(Math.max(value, figures.concurrent_peak));
  if (name === "cps") return peak(figures.cps_peak);
  if (name === "asr" || name === "ner") return of(figures.offered);
  if (name === "acd_seconds") return of(figures.completed);
  if (name === "pdd_p95_ms" && figures.pdd_p50_ms !== null) return t("tile.median", { value: gap(figures.pdd_p50_ms) });
  return "";
}
