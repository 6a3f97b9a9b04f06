// Anomalies: what makes a call worth a look. Pure.

import { length } from "../text/text.js";

export const LIMITS = { ringing: 60, talking: 7200 }; // defaults, seconds; the settings dialog changes them

const BEFORE_ANSWER = new Set(["trying", "ringing", "early"]);

// Why a call is an anomaly, as texts, the most serious first; empty for a normal call. `now`: ms
// since the epoch, `limits`: see LIMITS.
export function reasons(record, now, limits) {
  const found = [];
  if (record.unconfirmed === true) found.push("unconfirmed: its node has not reported it lately");
  const waiting = now - (record.setup_at ?? now);
  if (BEFORE_ANSWER.has(record.state) && waiting > limits.ringing * 1000) {
    found.push(`${record.state} for ${length(waiting)} without an answer`);
  }
  const talking = now - (record.answered_at ?? now);
  if (talking > limits.talking * 1000) found.push(`up for ${length(talking)}: its end may be lost`);
  if (record.company_id === undefined) found.push("belongs to no company");
  return found;
}

// Whether there is any reason: without the texts, because it runs for all calls every two seconds.
export function isAnomaly(record, now, limits) {
  return record.unconfirmed === true || record.company_id === undefined
    || (BEFORE_ANSWER.has(record.state)
      ? now - (record.setup_at ?? now) > limits.ringing * 1000
      : now - (record.answered_at ?? now) > limits.talking * 1000);
}
