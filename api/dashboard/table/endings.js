// How an ended call reads, and whether its end is a fault. Pure.

import { has, t } from "../text/catalogue.js";
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

// A name of the contract in words; one that a later version knows stays as it is.
const named = (prefix, name) => (has(prefix + name) ? t(prefix + name) : plain(name).replaceAll("_", " "));
export const outcomeText = (outcome) => named("outcome.", outcome);
export const phaseText = (phase) => named("phase.", phase);

// A call that was answered never reads as one that is up: "ended 00:42", with its duration.
export function endText(end, record) {
  const { outcome } = end;
  if (outcome === undefined) return t("cell.ended");
  if (outcome !== "answered") return outcomeText(outcome);
  const answered = end.answered_at ?? record?.answered_at;
  const known = answered !== undefined && end.ended_at !== undefined;
  return known ? t("cell.ended_after", { duration: length(end.ended_at - answered) }) : t("cell.ended");
}
