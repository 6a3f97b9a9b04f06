// How an ended call reads, and whether its end is a fault. Pure.

import { length, plain } from "../text/text.js";

// Outcomes with which the network did its work, as the NER counts them (ITU-T E.425 §1.5). A call
// that was challenged comes again with credentials; what the proxy's policy refuses was never
// offered to the network. A caller who gives up is no fault of the network either.
const NO_FAULT = new Set([
  "answered", "busy", "declined", "unavailable", "redirected", "canceled", "challenged",
  "rejected_local",
]);

// Whether an end is a fault of the network. No answer is one where it never rang.
export function isFault({ outcome }, record) {
  if (outcome === "no_answer") return record.progress_at === undefined;
  return !NO_FAULT.has(outcome);
}

// A call that was answered never reads as one that is up: "ended 00:42", with its duration.
export function endText(end, record) {
  const { outcome } = end;
  if (outcome === undefined) return "ended";
  if (outcome !== "answered") return plain(outcome).replaceAll("_", " ");
  const answered = end.answered_at ?? record?.answered_at;
  const known = answered !== undefined && end.ended_at !== undefined;
  return known ? `ended ${length(end.ended_at - answered)}` : "ended";
}
