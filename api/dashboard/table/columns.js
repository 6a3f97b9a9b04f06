// The columns: text, sort value and width of each. Pure.
//
// The table writes the text as a text node. Callers choose names and numbers, so `plain` makes
// characters visible that would hide or reorder the text beside them.

import { endText } from "./endings.js";
import { STATES } from "./filters.js";
import { qualityCell } from "./quality.js";
import { codeView } from "../links.js";
import { section, t } from "../text/catalogue.js";
import { gap, length, masked, plain } from "../text/text.js";

const DIRECTIONS = section("direction.");
const STATE_RANK = Object.keys(STATES);

const endTime = (end, now) => end?.ended_at ?? now;
const between = (from, to) => (from === undefined || to === undefined ? undefined : to - from);
const shown = (number, mask) => (number === undefined ? "–" : plain(mask ? masked(number) : number));
const postDialDelay = (record) => between(record.setup_at, record.progress_at ?? record.answered_at);
const answerDelay = (record) => between(record.setup_at, record.answered_at);
const delayText = (ms) => (ms === undefined ? "" : gap(ms));

// `text(record, now, end, mask)` is the cell's text. `now`: ms since the epoch; `end`: how an ended
// call ended, undefined for a live one; `mask`: hide numbers. `rank(record)` is what to sort by.
// `view(record, end)`: the filtered view that the cell links to, see links.js; null for no link.
// `optional`: hidden by default. `ticks`: the text changes with time alone.
export const COLUMNS = {
  state: {
    title: t("column.state"), width: "minmax(15.5ch, 1.1fr)",
    rank: (record) => STATE_RANK.indexOf(record.state),
    text(record, _now, end) {
      if (end) return endText(end, record);
      const name = STATES[record.state] ?? plain(record.state);
      return record.unconfirmed === true ? t("cell.unconfirmed", { state: name }) : name;
    },
  },
  from: {
    title: t("column.from"), width: "minmax(14ch, 1.5fr)", rank: (record) => record.from,
    text: (record, _now, _end, mask) => shown(record.from, mask),
  },
  to: {
    title: t("column.to"), width: "minmax(14ch, 1.5fr)", rank: (record) => record.to,
    text: (record, _now, _end, mask) => shown(record.to, mask),
  },
  company: {
    title: t("column.company"), width: "minmax(8ch, 0.8fr)", rank: (record) => record.company_id,
    text: (record) => record.company_id === undefined ? t("cell.no_company") : plain(record.company_id),
    view: viewOf("company_id"),
  },
  trunk: {
    title: t("column.trunk"), width: "minmax(15ch, 1.2fr)", rank: (record) => record.trunk,
    text(record) {
      const trunk = plain(record.trunk ?? "–");
      return record.attempt > 1 ? t("cell.attempt", { trunk, attempt: record.attempt }) : trunk;
    },
    view: viewOf("trunk"),
  },
  direction: {
    title: t("column.direction"), width: "8ch", rank: (record) => record.direction,
    text: (record) => DIRECTIONS[record.direction] ?? "",
  },
  talk: {
    title: t("column.talk"), width: "8ch", number: true, ticks: true,
    rank: (record) => earlierFirst(record.answered_at),
    text: (record, now, end) =>
      record.answered_at === undefined ? "" : length(endTime(end, now) - record.answered_at),
  },
  age: {
    title: t("column.age"), width: "7ch", number: true, ticks: true,
    rank: (record) => earlierFirst(record.setup_at),
    text: (record, now, end) => length(endTime(end, now) - (record.setup_at ?? now)),
  },
  answer: {
    title: t("column.answer"), width: "9ch", number: true, rank: answerDelay,
    text: (record) => delayText(answerDelay(record)),
  },
  pdd: {
    title: t("column.pdd"), width: "7ch", number: true, rank: postDialDelay,
    text: (record) => delayText(postDialDelay(record)),
  },
  code: {
    title: t("column.code"), width: "6ch", number: true, rank: (record) => record.sip_code,
    text: (record, _now, end) => String(end?.sip_code ?? record.sip_code ?? ""),
    view(record, end) {
      const code = end?.sip_code ?? record.sip_code;
      return code === undefined ? null : codeView(code, end !== undefined);
    },
  },
  node: {
    title: t("column.node"), width: "minmax(9ch, 0.8fr)", rank: (record) => record.node,
    text: (record) => plain(record.node),
    view: viewOf("node"),
  },
  reason: {
    title: t("column.reason"), width: "minmax(12ch, 1fr)", optional: true, rank: (record) => record.sip_reason,
    text: (record) => plain(record.sip_reason ?? ""),
  },
  quality: {
    title: t("column.quality"), width: "minmax(15ch, 0.8fr)", optional: true, rank: (record) => record.mos,
    text: (record) => qualityCell(record),
  },
  call_id: {
    title: t("column.call_id"), width: "minmax(20ch, 1.5fr)", optional: true, rank: (record) => record.call_id,
    text: (record) => plain(record.call_id),
  },
};

// The columns on a telephone, with their widths.
export const NARROW = { state: "13.5ch", from: "minmax(0, 1fr)", to: "minmax(0, 1fr)", talk: "8.5ch" };

// Hidden in wall mode: its large letters leave no room for them.
export const OFF_THE_WALL = ["direction", "node"];

// The calls with the same value of a field.
function viewOf(field) {
  return (record) => (record[field] === undefined ? null : { [field]: record[field] });
}

// Sort by duration, which grows: the earlier it began, the longer it is.
function earlierFirst(at) {
  return at === undefined ? undefined : -at;
}
