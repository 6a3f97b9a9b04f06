// The page: connection → fold → table, and the bar that says whether to believe it.

import { Connection, browser } from "./connection.js";
import { Fold } from "./fold.js";
import { STATES, Table, length } from "./table.js";

const COLUMNS = ["state", "age", "talk", "direction", "from", "to", "company", "trunk", "node"];
const FILTERS = ["company_id", "state", "trunk"];

const at = (id) => document.getElementById(id);
const fold = new Fold();
let offset = 0; // server's clock less ours, ms: a wrong clock here must not make wrong ages
let heardAt = 0;
let named; // whose session the page shows
let counting = false;

const query = [...new URLSearchParams(location.search)].filter(([name]) => FILTERS.includes(name));

const serverTime = () => Date.now() + offset;

// What the table counts ages with: it stands still while nobody can say that the calls go on.
function shownTime() {
  const { state, staleSince } = connection;
  if (state === "stale" && staleSince !== null) return staleSince;
  return state === "live" || heardAt === 0 ? serverTime() : heardAt + offset;
}

const table = new Table({
  scroller: at("scroller"),
  body: at("rows"),
  columns: COLUMNS,
  clock: shownTime,
  now: browser.now,
  schedule: (paint) => requestAnimationFrame(paint), // none in a tab that nobody sees
});

function heard(name, data, id) {
  heardAt = Date.now();
  if (data.as_of !== undefined) offset = data.as_of - heardAt;
  const change = fold.apply(name, data, id);
  if (change !== null) {
    table.show(fold.calls, change, data.ended);
    count();
  }
  const believed = name !== "heartbeat" || (fold.agrees(data) && fold.complete);
  if (!believed) fold.doubt();
  return believed;
}

const connection = new Connection(
  "/api/v1/live/calls", query, () => fold.id, { event: heard, state: truth }, browser,
);

const WHY = {
  connecting: "Asking for the calls that are up",
  live: "",
  stale: "What feeds this page is silent",
  resyncing: "What this page held was wrong; it asks for all calls anew",
  disconnected: "This page does not reach the service",
  "signed out": "Your login is over",
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
  const { state, goodbye, who } = connection;
  const live = state === "live";
  document.body.dataset.truth = state.replace(" ", "-");
  document.title = live ? "Live calls" : `${state} · Live calls`;
  set(at("truth-word"), state);
  const reason = goodbye === null ? "" : ` (${REASONS[goodbye] ?? goodbye})`;
  set(at("truth-why"), live ? "" : `${WHY[state]}${reason}.`);
  set(at("truth-age"), live || heardAt === 0 ? "" : asTheyWere());
  set(at("heard"), live ? `updated ${length(Date.now() - heardAt)} ago` : "");
  at("login").hidden = state !== "signed out";
  if (who !== named) heading(who);
}

function asTheyWere() {
  const then = shownTime();
  const clock = new Date(then).toLocaleTimeString("en-GB");
  return `Calls below are as they were at ${clock}, ${length(serverTime() - then)} ago.`;
}

// Tens of thousands of calls change ten times a second: once a frame is often enough.
function count() {
  if (counting) return;
  counting = true;
  requestAnimationFrame(() => {
    counting = false;
    const by = new Map(Object.keys(STATES).map((state) => [state, 0]));
    for (const { state } of fold.calls.values()) by.set(state, (by.get(state) ?? 0) + 1);
    set(at("total"), fold.calls.size.toLocaleString("en"));
    for (const state of Object.keys(STATES)) {
      set(at(`count-${state}`), by.get(state).toLocaleString("en"));
    }
  });
}

function heading(who) {
  named = who;
  const company = who?.company_id;
  const columns = COLUMNS.filter((name) => name !== "company" || company === undefined);
  at("heading").replaceChildren(...columns.map((name) => {
    const cell = document.createElement("span");
    cell.setAttribute("role", "columnheader");
    cell.className = name;
    cell.textContent = name;
    return cell;
  }));
  document.body.classList.toggle("one-company", company !== undefined);
  const scope = who === null ? "" : company === undefined ? who.role : `company ${company}`;
  const only = query.length ? `only ${query.map((pair) => pair.join(" ")).join(", ")}` : "";
  set(at("who"), [scope, only].filter(Boolean).join(", "));
  table.head(columns);
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

at("filter").addEventListener("input", (event) => table.filter(event.target.value));
setInterval(() => {
  truth();
  if (!document.hidden) table.draw(); // ages tick, and who has left fades
}, 500);
truth();
connection.start();

// For tests and for an engineer's console; it only reads.
window.livestate = Object.freeze({
  state: () => ({
    connection: connection.state,
    version: fold.id === "" ? null : Number(fold.id.split("-").pop()),
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
