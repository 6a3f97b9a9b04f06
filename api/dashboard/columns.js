// The columns: what each says of a call, what it is sorted by, how wide it wants to be. Pure.
//
// Text only, for the table puts it into the document as such: a caller chooses his name.

import { STATES } from "./filters.js";
import { gap, length, masked } from "./text.js";

const DIRECTIONS = { inbound: "← in", outbound: "→ out", internal: "↔ internal" };
const STATE_RANK = Object.keys(STATES);

const end = (gone, now) => gone?.over.ended_at ?? now;
const between = (from, to) => (from === undefined || to === undefined ? undefined : to - from);
const shown = (number, mask) => (number === undefined ? "–" : mask ? masked(number) : number);
const delay = (record) => between(record.setup_at, record.progress_at ?? record.answered_at);
const toAnswer = (record) => between(record.setup_at, record.answered_at);
const span = (ms) => (ms === undefined ? "" : gap(ms));

// `text(record, now, gone, mask)`; `rank(record)`; `off` columns are chosen, not given; what
// `ticks` says something else each second of a call that does not change.
export const COLUMNS = {
  state: {
    title: "State", width: "minmax(18ch, 1.1fr)",
    rank: (record) => STATE_RANK.indexOf(record.state),
    text(record, _now, gone) {
      if (gone) return `✕ ${gone.over.outcome.replaceAll("_", " ")}`;
      const [sign, name] = STATES[record.state] ?? ["?", record.state];
      return `${sign} ${name}${record.unconfirmed === true ? " · unconfirmed" : ""}`;
    },
  },
  from: {
    title: "From", width: "minmax(14ch, 1.5fr)", rank: (record) => record.from,
    text: (record, _now, _gone, mask) => shown(record.from, mask),
  },
  to: {
    title: "To", width: "minmax(14ch, 1.5fr)", rank: (record) => record.to,
    text: (record, _now, _gone, mask) => shown(record.to, mask),
  },
  company: {
    title: "Company", width: "minmax(9ch, 0.8fr)", rank: (record) => record.company_id,
    text: (record) => record.company_id ?? "nobody",
  },
  trunk: {
    title: "Trunk", width: "minmax(14ch, 1.2fr)", rank: (record) => record.trunk,
    text: (record) =>
      (record.trunk ?? "–") + (record.attempt > 1 ? ` (try ${record.attempt})` : ""),
  },
  direction: {
    title: "Direction", width: "10ch", rank: (record) => record.direction,
    text: (record) => DIRECTIONS[record.direction] ?? "",
  },
  talk: {
    title: "Duration", width: "9ch", number: true, ticks: true, rank: (record) => negative(record.answered_at),
    text: (record, now, gone) =>
      record.answered_at === undefined ? "" : length(end(gone, now) - record.answered_at),
  },
  age: {
    title: "Age", width: "9ch", number: true, ticks: true, rank: (record) => negative(record.setup_at),
    text: (record, now, gone) => length(end(gone, now) - (record.setup_at ?? now)),
  },
  answer: {
    title: "To answer", width: "10ch", number: true, rank: toAnswer,
    text: (record) => span(toAnswer(record)),
  },
  pdd: {
    title: "PDD", width: "8ch", number: true, rank: delay, text: (record) => span(delay(record)),
  },
  code: {
    title: "Code", width: "7ch", number: true, rank: (record) => record.sip_code,
    text: (record, _now, gone) => String(gone?.over.sip_code ?? record.sip_code ?? ""),
  },
  node: {
    title: "Node", width: "minmax(9ch, 0.8fr)", rank: (record) => record.node,
    text: (record) => record.node,
  },
  reason: {
    title: "Response", width: "minmax(12ch, 1fr)", off: true, rank: (record) => record.sip_reason,
    text: (record) => record.sip_reason ?? "",
  },
  call_id: {
    title: "Call-ID", width: "minmax(20ch, 1.5fr)", off: true, rank: (record) => record.call_id,
    text: (record) => record.call_id,
  },
};

// What a telephone shows.
export const NARROW = { state: "13.5ch", from: "minmax(0, 1fr)", to: "minmax(0, 1fr)", talk: "6ch" };

// Letters that can be read from afar leave no room for what nobody acts on from there.
export const OFF_THE_WALL = ["direction", "node"];

// Sorted by how long it lasts, which grows: the earlier, the longer.
function negative(at) {
  return at === undefined ? undefined : -at;
}
