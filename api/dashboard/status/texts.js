// What the status bar says: why the page is not live, and what happens next. Pure.

import { length, plain, whole } from "../text/text.js";
import { obstacleReason, obstacleRemedy } from "./obstacles.js";

export const REASONS = {
  connecting: "Loading the live calls.",
  starting: "The service is starting.",
  live: "",
  stale: "The service receives no call events.",
  resyncing: "The calls on this page did not match the service.",
  disconnected: "The service cannot be reached.",
  "signed out": "Your session has ended.",
};
const REMEDIES = {
  stale: "The page is live again when heartbeats of the nodes arrive.",
  resyncing: "It is asking for a new snapshot.",
  disconnected: "It tries again every few seconds.",
};
// By `stale_reason` of the heartbeat. Of an unknown one, the texts above count.
export const STALE_REASONS = {
  silent: REASONS.stale,
  no_node: "No SIP node has been heard since the service started.",
  lists: "The service cannot read the list of calls of a SIP node.",
  contested: "Two SIP nodes have the same name.",
  refused: "The service rejects every message of a SIP node.",
};
const STALE_REMEDIES = {
  no_node: "Calls appear when the first node sends a heartbeat. Is its bridge running?",
  lists: "It asks for the list again. The reason is in /statusz.",
  contested: "Give each SIP node a name of its own: LIVESTATE_NODE in livestate.cfg.",
  refused: "The reason is in /statusz.",
};
export const GOODBYES = {
  drain: "The service is restarting.",
  rotation: "The stream is being renewed.",
  overload: "The service has too many streams.",
  starting: "The service is starting.",
  expired: "Your session has expired.",
  revoked: "Your session was revoked.",
  stalled: "This browser did not read the stream in time.",
  replaced: "This page has opened a newer stream.",
};

// The nodes that have one kind of trouble. Only roles that see all calls receive nodes.
const nodesWith = (connection, what) => connection.nodes.filter((node) => node.what === what);

const clockText = ({ node, ahead_ms: ahead }) =>
  `The clock of ${plain(node)} is ${length(Math.abs(ahead))} ${ahead > 0 ? "ahead" : "behind"}.`;

// A silent node, and how many of the calls on the page are known from it alone.
function silentText({ node }, calls) {
  let own = 0;
  for (const call of calls.values()) own += call.node === node;
  const shown = calls.size === 1 ? "1 call" : `${whole(calls.size)} calls`;
  return `${plain(node)} is silent: ${whole(own)} of ${shown} ${own === 1 ? "is" : "are"} on it.`;
}

// Why the page is in this state. `calls`: key → record, all that the page has.
export function reason(connection, calls = new Map()) {
  const { state, goodbye, staleReason, obstacle } = connection;
  if (state === "live") return nodesWith(connection, "clock").map(clockText).join(" ");
  if (obstacle !== null) return obstacleReason(obstacle);
  if (goodbye !== null) return GOODBYES[goodbye] ?? goodbye;
  if (state !== "stale" || !Object.hasOwn(STALE_REASONS, staleReason)) return REASONS[state];
  if (staleReason === "silent") {
    const silent = nodesWith(connection, "silent").map((node) => silentText(node, calls));
    return silent.join(" ") || STALE_REASONS.silent;
  }
  const names = nodesWith(connection, staleReason).map(({ node }) => plain(node)).join(", ");
  return names ? `${STALE_REASONS[staleReason]} (${names})` : STALE_REASONS[staleReason];
}

// What the page does about it, or what the reader has to do.
export function remedy({ state, staleReason, obstacle }) {
  if (obstacle !== null) return obstacleRemedy(obstacle);
  const stale = state === "stale" ? STALE_REMEDIES[staleReason] : undefined;
  return stale ?? REMEDIES[state] ?? "";
}
