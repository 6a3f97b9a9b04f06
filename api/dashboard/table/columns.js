// The columns: text, sort value and width of each. Pure.
//
// The table writes the text as a text node. Callers choose names and numbers, so `plain` makes
// characters visible that would hide or reorder the text beside them.

import { endText } from "./endings.js";
import { STATES } from "./filters.js";
import { gap, length, masked, plain } from "../text/text.js";

const DIRECTIONS = { inbound: "← in", outbound: "→ out", internal: "internal" };
const STATE_RANK = Object.keys(STATES);

const endTime = (end, now) => end?.ended_at ?? now;
const between = (from, to) => (from === undefined || to === undefined ? undefined : to - from);
const shown = (number, mask) => (number === undefined ? "–" : plain(mask ? masked(number) : number));
const postDialDelay = (record) => between(record.setup_at, record.progress_at ?? record.answered_at);
const answerDelay = (record) => between(record.setup_at, record.answered_at);
const delayText = (ms) => (ms === undefined ? "" : gap(ms));

// `text(record, now, end, mask)` is the cell's text. `now`: ms since the epoch; `end`: how an ended
// call ended, undefined for a live one; `mask`: hide numbers. `rank(record)` is what to sort by.
// `optional`: hidden by default. `ticks`: the text changes with time alone.
export const COLUMNS = {
  state: {
    title: "State", width: "minmax(15.5ch, 1.1fr)",
    rank: (record) => STATE_RANK.indexOf(record.state),
    text(record, _now, end) {
      if (end) return endText(end, record);
      const name = STATES[record.state] ?? plain(record.state);
      return `${name}${record.unconfirmed === true ? " · unconfirmed" : ""}`;
    },
  },
  from: {
    title: "From", width: "minmax(14ch, 1.5fr)", rank: (record) => record.from,
    text: (record, _now, _end, mask) => shown(record.from, mask),
  },
  to: {
    title: "To", width: "minmax(14ch, 1.5fr)", rank: (record) => record.to,
    text: (record, _now, _end, mask) => shown(record.to, mask),
  },
  company: {
    title: "Company", width: "minmax(8ch, 0.8fr)", rank: (record) => record.company_id,
    text: (record) => plain(record.company_id ?? "none"),
  },
  trunk: {
    title: "Trunk", width: "minmax(15ch, 1.2fr)", rank: (record) => record.trunk,
    text: (record) =>
      plain(record.trunk ?? "–") + (record.attempt > 1 ? ` (try ${record.attempt})` : ""),
  },
  direction: {
    title: "Direction", width: "8ch", rank: (record) => record.direction,
    text: (record) => DIRECTIONS[record.direction] ?? "",
  },
  talk: {
    title: "Duration", width: "8ch", number: true, ticks: true,
    rank: (record) => earlierFirst(record.answered_at),
    text: (record, now, end) =>
      record.answered_at === undefined ? "" : length(endTime(end, now) - record.answered_at),
  },
  age: {
    title: "Age", width: "7ch", number: true, ticks: true,
    rank: (record) => earlierFirst(record.setup_at),
    text: (record, now, end) => length(endTime(end, now) - (record.setup_at ?? now)),
  },
  answer: {
    title: "To answer", width: "9ch", number: true, rank: answerDelay,
    text: (record) => delayText(answerDelay(record)),
  },
  pdd: {
    title: "PDD", width: "7ch", number: true, rank: postDialDelay,
    text: (record) => delayText(postDialDelay(record)),
  },
  code: {
    title: "Code", width: "6ch", number: true, rank: (record) => record.sip_code,
    text: (record, _now, end) => String(end?.sip_code ?? record.sip_code ?? ""),
  },
  node: {
    title: "Node", width: "minmax(9ch, 0.8fr)", rank: (record) => record.node,
    text: (record) => plain(record.node),
  },
  reason: {
    title: "Response", width: "minmax(12ch, 1fr)", optional: true, rank: (record) => record.sip_reason,
    text: (record) => plain(record.sip_reason ?? ""),
  },
  call_id: {
    title: "Call-ID", width: "minmax(20ch, 1.5fr)", optional: true, rank: (record) => record.call_id,
    text: (record) => plain(record.call_id),
  },
};

// The columns on a telephone, with their widths.
export const NARROW = { state: "13.5ch", from: "minmax(0, 1fr)", to: "minmax(0, 1fr)", talk: "8.5ch" };

// Hidden in wall mode: its large letters leave no room for them.
export const OFF_THE_WALL = ["direction", "node"];

// Sort by duration, which grows: the earlier it began, the longer it is.
function earlierFirst(at) {
  return at === undefined ? undefined : -at;
}
