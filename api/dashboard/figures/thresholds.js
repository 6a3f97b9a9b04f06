// When a figure raises an alarm: past one of two thresholds, and measured on enough calls. Pure.
//
// One failed call of three says nothing. And just after the service has started, most ended calls
// are failed ones, because the answered ones still last.

const MIN_CALLS = 20;
const MIN_SECONDS = 300;

// Defaults: figure → [warning, alarm]; null is none. Figures of LOW_IS_BAD alarm below the value.
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
// figure → the field of the `kpi` event that counts its calls
const MEASURED = {
  asr: "offered", ner: "offered", acd_seconds: "completed", pdd_p95_ms: "offered",
};
const KNOWN_AT_CALL_END = new Set(["asr", "ner", "acd_seconds"]); // and calls may be long

// The level of one figure, and the limit that it has passed: { level: "" | "warning" | "alarm",
// limit }. `figures`: the last `kpi` event.
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

// Whether a figure is measured on enough calls and time.
export function measured(name, figures) {
  const few = MEASURED[name] !== undefined && (figures[MEASURED[name]] ?? 0) < MIN_CALLS;
  const young = KNOWN_AT_CALL_END.has(name) && !(figures.window_seconds >= MIN_SECONDS);
  return !few && !young;
}

// On which side of its limits a figure is bad.
export function side(name) {
  return LOW_IS_BAD.has(name) ? "below" : "above";
}
