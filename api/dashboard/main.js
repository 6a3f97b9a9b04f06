// The page: connection → fold → table, and the bar that says whether to believe it.

import { Connection, browser } from "./connection.js";
import { Fold } from "./fold.js";
import { STATES, Table, length } from "./table.js";

const at = (id) => document.getElementById(id);
let fold = new Fold();
let offset = 0; // server's clock less ours, ms: a wrong clock here must not make wrong ages
let heardAt = 0;

const allowed = ["company_id", "state", "trunk"];
const query = [...new URLSearchParams(location.search)].filter(([name]) => allowed.includes(name));

const serverTime = () => Date.now() + offset;

// What the table counts ages with: it stands still while nobody can say that the calls go on.
function shownTime() {
  const { state, staleSince } = connection;
  if (state === "stale" && staleSince !== null) return staleSince;
  return state === "live" || heardAt === 0 ? serverTime() : heardAt + offset;
}

const who = await me();
const columns = ["state", "age", "talk", "direction", "from", "to", "company", "trunk", "node"].filter(
  (name) => name !== "company" || who?.company_id === undefined,
);
heading();

const table = new Table({
  scroller: at("scroller"),
  body: at("rows"),
  columns,
  clock: shownTime,
  schedule: (paint) => requestAnimationFrame(paint),
});

const connection = new Connection("/api/v1/live/calls", query, () => fold.id, {
  event(name, data, id) {
    heardAt = Date.now();
    if (data.as_of !== undefined) offset = data.as_of - heardAt;
    const change = fold.apply(name, data, id);
    if (name === "heartbeat" && !fold.agrees(data)) {
      const divergences = fold.divergences;
      fold = new Fold();
      fold.divergences = divergences;
      connection.resync();
      return;
    }
    if (change !== null) table.show(fold.calls, change, data.ended);
    if (change !== null) count();
  },
  state: truth,
}, browser);

const WORDS = {
  connecting: ["connecting", "Asking for the calls that are up."],
  live: ["live", ""],
  stale: ["stale", "What feeds this page is silent. Calls below are as they were"],
  disconnected: ["disconnected", "This page does not reach the service. Calls below are as they were"],
  "signed out": ["signed out", "Your login is over."],
};
const REASONS = {
  drain: "the service restarts",
  rotation: "the stream is renewed",
  overload: "the service has too many streams",
  starting: "the service is starting",
  expired: "the login has expired",
  revoked: "the login was revoked",
};

function truth() {
  const { state, goodbye } = connection;
  const [word, text] = WORDS[state];
  document.body.dataset.truth = state.replace(" ", "-");
  set(at("truth-word"), word);
  let told = text;
  const asOf = heardAt === 0 ? 0 : shownTime();
  if ((state === "stale" || state === "disconnected") && asOf) {
    told += ` at ${new Date(asOf).toLocaleTimeString()}, ${length(serverTime() - asOf)} ago.`;
  }
  if (state !== "live" && goodbye !== null) told += ` (${REASONS[goodbye] ?? goodbye})`;
  set(at("truth-text"), told);
  at("login").hidden = state !== "signed out";
}

function count() {
  const by = Object.fromEntries(Object.keys(STATES).map((state) => [state, 0]));
  for (const record of fold.calls.values()) by[record.state] += 1;
  set(at("total"), fold.calls.size.toLocaleString("en"));
  for (const [state, number] of Object.entries(by)) {
    set(at(`count-${state}`), number.toLocaleString("en"));
  }
}

function heading() {
  const row = at("heading");
  for (const name of columns) {
    const cell = document.createElement("span");
    cell.setAttribute("role", "columnheader");
    cell.className = name;
    cell.textContent = name;
    row.append(cell);
  }
  document.body.classList.toggle("one-company", !columns.includes("company"));
  const scope = who === null ? "" : who.company_id === undefined ? who.role : `company ${who.company_id}`;
  set(at("who"), query.length ? `${scope}, only ${new URLSearchParams(query)}` : scope);
}

async function me() {
  try {
    const answer = await fetch("/api/v1/session", {
      cache: "no-store",
      signal: AbortSignal.timeout(4_000),
    });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

at("filter").addEventListener("input", (event) => table.filter(event.target.value));
setInterval(() => {
  truth();
  if (!document.hidden) table.draw(); // ages tick, and who has left fades
}, 500);
connection.start();
if (who === null) connection.probe();

// For tests and for an engineer's console; it only reads.
window.livestate = Object.freeze({
  state: () => ({
    connection: connection.state,
    id: fold.id,
    digest: fold.digest,
    calls: fold.calls.size,
    complete: fold.complete,
    divergences: fold.divergences,
    reconnects: connection.reconnects,
    goodbye: connection.goodbye,
    staleSince: connection.staleSince,
  }),
  calls: () => Object.fromEntries(fold.calls),
});
