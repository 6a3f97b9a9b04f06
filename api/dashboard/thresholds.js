// When a figure is an alarm: past one of two thresholds, and measured well enough. Pure.
//
// Of three calls one failed is no sign of anything. And right after the service has started most
// calls that are over are those that failed: those that were answered still talk.

const ENOUGH_CALLS = 20;
const ENOUGH_SECONDS = 300;

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
const FOUND_AT_THE_END = new Set(["asr", "ner", "acd_seconds"]); // of a call, which may be long

// { level: "" | "warning" | "alarm", limit } of one figure.
export function judge(name, value, figures, thresholds) {
  const [warning, alarm] = thresholds[name] ?? [null, null];
  if (value === null || value === undefined || !measured(name, figures)) {
    return { level: "", limit: null };
  }
  const past = (limit) =>
    limit !== null && (LOW_IS_BAD.has(name) ? value < limit : value > limit);
  if (past(alarm)) return { level: "alarm", limit: alarm };
  return past(warning) ? { level: "warning", limit: warning } : { level: "", limit: null };
}

// Whether there is enough to judge a figure by.
export function measured(name, figures) {
  const few = MEASURED[name] !== undefined && (figures[MEASURED[name]] ?? 0) < ENOUGH_CALLS;
  const young = FOUND_AT_THE_END.has(name) && !(figures.window_seconds >= ENOUGH_SECONDS);
  return !few && !young;
}

export function side(name) {
  return LOW_IS_BAD.has(name) ? "below" : "above";
}
