// Charts of the last hour or day by minute: calls that were up, attempts and faults, ASR and NER.
//
// uPlot (vendored, see vendor/README.md) draws them and is loaded when the panel is first opened. A
// minute that the service did not see is a gap. Marks say why: stale data, a restart, an alarm.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { isUtc, percent, plain, timeOfDay, whole } from "../text/text.js";
import { make } from "./dom.js";

const HEIGHT = 190; // pixels of one chart; on a wall they share the height that there is
const LEAST_HEIGHT = 80; // pixels
const LEGEND_REM = 2;
const MOST_LISTED = 30; // marks below the charts, the latest
export const WINDOWS = ["hour", "day"];

// name → its lines: [text, colour, the value of a minute]; `unit`: how a value is written.
const ratio = (part, of) => (of ? (100 * part) / of : null);
const CHARTS = {
  live: { unit: whole, lines: [["charts.live", "--held", (data, at) => data.live[at]]] },
  attempts: { unit: whole, lines: [
    ["charts.attempts", "--held", (data, at) => data.attempts[at]],
    ["charts.faults", "--bad", (data, at) => (data.attempts[at] === null ? null : data.attempts[at] - data.effective[at])],
  ] },
  quality: { unit: percent, lines: [
    ["charts.ner", "--good", (data, at) => ratio(data.effective[at], data.attempts[at])],
    ["charts.asr", "--held", (data, at) => ratio(data.answered[at], data.attempts[at])],
  ] },
};

export class Charts {
  // `chooseWindow(window)`: "hour" or "day" was chosen. `window()`: the present one. `charts`: names of
  // those to draw. `wall`: with large letters, in the height of the element.
  constructor({ chooseWindow, window: current, charts = Object.keys(CHARTS), wall = false }) {
    this.current = current;
    this.wall = wall;
    this.buttons = WINDOWS.map((name) => {
      const button = make("button", { type: "button", textContent: t(`charts.${name}`) });
      button.addEventListener("click", () => chooseWindow(name));
      return [name, button];
    });
    const group = make("div", { className: "windows" }, ...this.buttons.map(([, button]) => button));
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", t("charts.window"));
    this.note = make("p");
    this.boxes = Object.fromEntries(charts.map((name) => {
      const box = make("div", { className: "chart" });
      box.setAttribute("role", "img");
      box.dataset.chart = name;
      return [name, box];
    }));
    this.marks = make("ul", { className: "marks" });
    this.probe = make("span", { hidden: true });
    this.element = make("div", {}, group, this.note, ...Object.values(this.boxes), this.marks, this.probe);
    this.plots = new Map();
    this.drawnRem = 0; // pixels of a letter when they were drawn
    this.shown = "";
    this.data = null;
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  forget() {
    this.data = null;
    this.shown = "";
    for (const plot of this.plots.values()) plot.destroy(); // else it keeps its data and listeners
    this.plots.clear();
    for (const box of Object.values(this.boxes)) box.removeAttribute("aria-label");
    this.marks.replaceChildren();
    setText(this.note, "");
  }

  async draw(data) {
    this.data = data;
    for (const [name, button] of this.buttons) {
      button.setAttribute("aria-pressed", String(name === this.current()));
    }
    const known = data.live.filter((value) => value !== null);
    setText(this.note, !data.kept ? t("charts.not_kept") : known.length === 0 ? t("charts.nothing") : "");
    this.listMarks(data.marks);
    // Colours follow the theme, times the zone; a minute is drawn once.
    const next = JSON.stringify([data, this.colour("--text"), isUtc()], (key, value) =>
      (["as_of", "next_seconds"].includes(key) ? undefined : value));
    if (next === this.shown) return;
    const { default: uPlot } = await import("../vendor/uplot/uPlot.esm.js");
    if (this.data !== data) return; // another one came meanwhile, or another login
    this.shown = next;
    this.drawnRem = this.rem();
    const { first, step_ms: step } = data;
    const times = data.live.map((_, at) => (first + at * step) / 1000);
    for (const [name, box] of Object.entries(this.boxes)) {
      const { unit, lines } = CHARTS[name];
      const columns = lines.map(([,, value]) => times.map((_, at) => value(data, at)));
      this.plots.get(name)?.destroy();
      this.plots.set(name, new uPlot(this.options(name), [times, ...columns], box));
      box.setAttribute("aria-label", label(name, unit, lines, columns));
    }
  }

  options(name) {
    const { unit, lines } = CHARTS[name];
    const quiet = this.colour("--quiet");
    const rem = this.rem();
    const letters = this.wall ? { font: [`${rem}px`, "sans-serif"].join(" ") } : {};
    const axis = { ...letters, stroke: quiet, grid: { stroke: this.colour("--line"), width: 1 }, ticks: { show: false } };
    return {
      ...this.size(name), ms: 1e-3,
      tzDate: (at) => zoned(at * 1000),
      legend: { live: !this.wall }, // values under the pointer: a wall has none
      cursor: { sync: { key: "livestate" }, drag: { x: false, y: false } },
      scales: { x: { range: this.range().map((at) => at / 1000) }, y: { range: (_, low, high) => [0, unit === percent ? 100 : Math.max(1, (high ?? 0) * 1.05)] } },
      axes: [
        { ...axis, size: this.wall ? 1.8 * rem : 30, values: (_, splits) => splits.map((at) => clock(at * 1000)) },
        { ...axis, size: this.wall ? 4 * rem : 60, values: (_, splits) => splits.map((value) => (Number.isInteger(value) ? unit(value) : "")) },
      ],
      series: [
        { label: t("charts.time"), value: (_, at) => (at === null ? "–" : timeOfDay(at * 1000)) },
        ...lines.map(([key, colour]) => ({
          label: t(key), stroke: this.colour(colour), width: this.wall ? 3 : 1.5, spanGaps: false,
          points: { show: false }, value: (_, value) => (value === null ? "–" : unit(value)),
        })),
      ],
      hooks: { drawClear: [(plot) => this.paintMarks(plot)] },
    };
  }

  // The time of the axis in ms: all minutes, also those that were not seen.
  range() {
    const { first, live, step_ms: step } = this.data;
    return [first, first + live.length * step];
  }

  // Stale periods are shaded, alarms are bars at the top, a restart is a line.
  paintMarks(plot) {
    const { ctx, bbox } = plot;
    const [, last] = this.range();
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const { kind, since, until } of this.data.marks) {
      const [from, to] = [Math.max(since, this.data.first), until ?? last]
        .map((at) => plot.valToPos(at / 1000, "x", true));
      const wide = Math.max(2, to - from);
      ctx.fillStyle = this.colour({ alarm: "--bad", warning: "--wait" }[kind] ?? "--quiet");
      ctx.globalAlpha = kind === "stale" ? 0.25 : 1;
      if (kind === "restart") ctx.fillRect(from, bbox.top, 2, bbox.height);
      else ctx.fillRect(from, bbox.top, wide, kind === "stale" ? bbox.height : 5);
    }
    ctx.restore();
  }

  listMarks(marks) {
    const texts = marks.slice(-MOST_LISTED).reverse().map(({ kind, since, until, rule, subject }) => {
      const what = rule === undefined ? t(`charts.mark.${kind}`)
        : [`${t(`alarm.${kind}`)}: ${t(`alarms.rule.${rule}`)}`, plain(subject)].join(" ").trim();
      if (kind === "restart") return t("charts.mark_at", { what, time: timeOfDay(since) });
      return t(until === null ? "charts.mark_since" : "charts.mark_from_to", {
        what, from: timeOfDay(since), to: until === null ? "" : timeOfDay(until),
      });
    });
    if (texts.join() === [...this.marks.children].map((one) => one.textContent).join()) return;
    this.marks.replaceChildren(...texts.map((textContent) => make("li", { textContent })));
  }

  // What a custom property of CSS means in the present theme: a canvas knows no light-dark().
  colour(name) {
    this.probe.style.color = `var(${name})`;
    return getComputedStyle(this.probe).color;
  }

  width() {
    return Math.max(200, this.element.clientWidth);
  }

  rem() {
    return parseFloat(getComputedStyle(document.documentElement).fontSize);
  }

  size(name) {
    const room = Math.floor(this.boxes[name].clientHeight - LEGEND_REM * this.rem());
    return { width: this.width(), height: this.wall ? Math.max(LEAST_HEIGHT, room) : HEIGHT };
  }

  resize() {
    if (this.element.clientWidth === 0) return;
    if (this.wall && this.data !== null && this.drawnRem !== this.rem()) { // a plot keeps its letters
      this.shown = "";
      this.draw(this.data);
      return;
    }
    for (const [name, plot] of this.plots) {
      const size = this.size(name);
      if (plot.width !== size.width || plot.height !== size.height) plot.setSize(size);
    }
  }
}

const formats = new Map();
const clock = (ms) => {
  const timeZone = isUtc() ? "UTC" : undefined;
  if (!formats.has(timeZone)) {
    formats.set(timeZone, new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit", minute: "2-digit" }));
  }
  return formats.get(timeZone).format(ms);
};

// A date whose local fields are those of the shown zone: uPlot puts its ticks by them.
const zoned = (ms) => (isUtc() ? new Date(ms + new Date(ms).getTimezoneOffset() * 60_000) : new Date(ms));

// A chart in words: each line's last and highest value.
function label(name, unit, lines, columns) {
  const parts = lines.map(([key], index) => {
    const known = columns[index].filter((value) => value !== null);
    return t("charts.line", {
      line: t(key),
      now: known.length === 0 ? "–" : unit(known.at(-1)),
      most: known.length === 0 ? "–" : unit(Math.max(...known)),
      least: known.length === 0 ? "–" : unit(Math.min(...known)),
    });
  });
  return parts.join(" ");
}
