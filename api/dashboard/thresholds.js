// When a figure is an alarm: two thresholds each, and too few calls are none. Pure.

const ENOUGH = 20; // calls; of three calls one failed is no sign of anything

// figure → [warning, alarm]; null is none. `below` and `MEASURED` say how they are meant.
export const THRESHOLDS = {
  concurrent: [null, null],
  waiting: [null, null],
  cps: [null, null],
  asr: [40, 25],
  ner: [85, 70],
  acd_seconds: [null, null],
  pdd_p95_ms: [5_000, 10_000],
  longest: [7_200, 14_400],
};
const LOW_IS_BAD = new Set(["asr", "ner", "acd_seconds"]);
const MEASURED = {
  asr: "offered", ner: "offered", acd_seconds: "completed", pdd_p95_ms: "offered",
};

// { level: "" | "warning" | "alarm", limit } of one figure.
export function judge(name, value, figures, thresholds) {
  const [warning, alarm] = thresholds[name] ?? [null, null];
  const few = MEASURED[name] !== undefined && (figures[MEASURED[name]] ?? 0) < ENOUGH;
  if (value === null || value === undefined || few) return { level: "", limit: null };
  const past = (limit) =>
    limit !== null && (LOW_IS_BAD.has(name) ? value < limit : value > limit);
  if (past(alarm)) return { level: "alarm", limit: alarm };
  return past(warning) ? { level: "warning", limit: warning } : { level: "", limit: null };
}

export function side(name) {
  return LOW_IS_BAD.has(name) ? "below" : "above";
}
