// What the status bar says: why the page is not live, and what happens next. Pure.

import { section, t } from "../text/catalogue.js";
import { counted, length } from "../text/text.js";
import { obstacleReason, obstacleRemedy } from "./obstacles.js";

export const REASONS = section("status.reason.");
const REMEDIES = section("status.remedy.");
// By `stale_reason` of the heartbeat. Of an unknown one, the texts above count.
export const STALE_REASONS = section("status.stale.");
const STALE_REMEDIES = section("status.stale_remedy.");
export const GOODBYES = section("status.goodbye.");

// The word of the status bar for a person: "live", or "paused, stale".
export function wordText(word) {
  const [paused, other] = word.split(", ");
  return other === undefined ? t(`status.word.${word}`)
    : t(`status.${paused}_and`, { word: t(`status.word.${other}`) });
}

// A node's name in the reason: a mark, which no name from outside contains, because `plain` writes that
// character as a sign. `reason` puts the name back.
const MARK = /\u2068(\d+)\u2069/;
const marked = (connection, node) => `\u2068${connection.nodes.findIndex((one) => one.node === node)}\u2069`;

// The nodes that have one kind of trouble. Only roles that see all calls receive nodes.
const nodesWith = (connection, what) => connection.nodes.filter((node) => node.what === what);

const clockText = (connection, { node, ahead_ms: ahead }) =>
  t(ahead > 0 ? "status.clock_ahead" : "status.clock_behind", {
    node: marked(connection, node), by: length(Math.abs(ahead)),
  });

// A silent node, and how many of the calls on the page are known from it alone.
function silentText(connection, { node }, calls) {
  let own = 0;
  for (const call of calls.values()) own += call.node === node;
  const shown = counted("status.calls", calls.size);
  return counted("status.silent", own, { node: marked(connection, node), calls: shown });
}

// Why the page is in this state, as parts: texts, and { node } where the name of a node stands.
// `calls`: key → record, all that the page has.
export function reason(connection, calls = new Map()) {
  const parts = reasonText(connection, calls).split(MARK);
  return parts.map((part, at) => (at % 2 === 0 ? part : { node: connection.nodes[part]?.node ?? "" }));
}

function reasonText(connection, calls) {
  const { state, goodbye, staleReason, obstacle } = connection;
  if (state === "live") return nodesWith(connection, "clock").map((one) => clockText(connection, one)).join(" ");
  if (obstacle !== null) return obstacleReason(obstacle);
  if (goodbye !== null) return GOODBYES[goodbye] ?? goodbye;
  if (state !== "stale" || !Object.hasOwn(STALE_REASONS, staleReason)) return REASONS[state];
  if (staleReason === "silent") {
    const silent = nodesWith(connection, "silent").map((node) => silentText(connection, node, calls));
    return silent.join(" ") || STALE_REASONS.silent;
  }
  const names = nodesWith(connection, staleReason).map(({ node }) => marked(connection, node)).join(", ");
  return names ? `${STALE_REASONS[staleReason]} (${names})` : STALE_REASONS[staleReason];
}

// What the page does about it, or what the reader has to do.
export function remedy({ state, staleReason, obstacle }) {
  if (obstacle !== null) return obstacleRemedy(obstacle);
  const stale = state === "stale" ? STALE_REMEDIES[staleReason] : undefined;
  return stale ?? REMEDIES[state] ?? "";
}
