// What is odd about a call: why somebody should look at it, in words. Pure.

import { length } from "./text.js";

export const LIMITS = { ringing: 60, talking: 7200 }; // seconds; the page's settings may differ

const BEFORE_ANSWER = new Set(["trying", "ringing", "early"]);

// The reasons, worst first; none for a call that is as calls are.
export function reasons(record, now, limits) {
  const found = [];
  if (record.unconfirmed === true) found.push("unconfirmed: its node has not vouched for it");
  const waits = now - (record.setup_at ?? now);
  if (BEFORE_ANSWER.has(record.state) && waits > limits.ringing * 1000) {
    found.push(`${record.state} for ${length(waits)} without an answer`);
  }
  const talks = now - (record.answered_at ?? now);
  if (talks > limits.talking * 1000) found.push(`up for ${length(talks)}: its end may be lost`);
  if (record.company_id === undefined) found.push("belongs to no company");
  return found;
}

// The same question without the words, for all calls once a second.
export function isOdd(record, now, limits) {
  return record.unconfirmed === true || record.company_id === undefined
    || (BEFORE_ANSWER.has(record.state)
      ? now - (record.setup_at ?? now) > limits.ringing * 1000
      : now - (record.answered_at ?? now) > limits.talking * 1000);
}
