// Anomalies: calls that an operator should look at, each with its reason. Pure.
//
// A call without a company is none by itself, nor is one that rings for a minute: among thousands
// there are always some. 180 s is Timer C of RFC 3261 (§16.6): a proxy cancels a call that rings
// longer, so one that goes on has probably lost its end.

import { t } from "../text/catalogue.js";
import { length } from "../text/text.js";

export const LIMITS = { ringing: 180, talking: 7200 }; // defaults, seconds; the settings dialog changes them

// The kinds of anomalies, the most serious first: name → text for a group of `count` calls.
export const KINDS = {
  unconfirmed: () => t("anomaly.unconfirmed"),
  waiting: ({ ringing }) => t("anomaly.waiting", { time: length(ringing * 1000) }),
  talking: ({ talking }) => t("anomaly.talking", { time: length(talking * 1000) }),
};

const BEFORE_ANSWER = new Set(["trying", "ringing", "early"]);

// The kind of a call's anomaly, the most serious one; "" for a normal call. It runs for all calls
// every two seconds, so it makes no text. `now`: ms since the epoch, `limits`: see LIMITS.
export function anomalyOf(record, now, limits) {
  if (record.unconfirmed === true) return "unconfirmed";
  if (BEFORE_ANSWER.has(record.state)) {
    return now - (record.setup_at ?? now) > limits.ringing * 1000 ? "waiting" : "";
  }
  return now - (record.answered_at ?? now) > limits.talking * 1000 ? "talking" : "";
}

// Why a call is an anomaly, as texts, the most serious first; empty for a normal call.
export function reasons(record, now, limits) {
  const found = [];
  if (record.unconfirmed === true) found.push(t("anomaly.why_unconfirmed"));
  const waiting = now - (record.setup_at ?? now);
  if (BEFORE_ANSWER.has(record.state) && waiting > limits.ringing * 1000) {
    found.push(t("anomaly.why_waiting", {
      state: t(`state.${record.state}`), time: length(waiting),
    }));
  }
  const talking = now - (record.answered_at ?? now);
  if (talking > limits.talking * 1000) {
    found.push(t("anomaly.why_talking", { time: length(talking) }));
  }
  return found;
}
