// The page: connection → fold → table, figures, and the bar that says whether to believe it.

import { Attention } from "./attention.js";
import * as busiest from "./busiest.js";
import { Chips } from "./chips.js";
import { COLUMNS, NARROW, OFF_THE_WALL } from "./columns.js";
import { Connection, browser } from "./connection.js";
import { Drawer } from "./drawer.js";
import * as files from "./export.js";
import { Filters } from "./filters.js";
import { Fold } from "./fold.js";
import * as keys from "./keys.js";
import { isOdd } from "./odd.js";
import { load, save } from "./preferences.js";
import { settings } from "./settings.js";
import { SharedStream } from "./shared.js";
import { Table } from "./table.js";
import { length, timeOfDay, whole } from "./text.js";
import { Tiles } from "./tiles.js";

const TICK_MS = 500;
const SEARCH_MS = 120; // between two letters
const FRESH_MS = 1_000; // with the silence after it, 10 s: so long may old data look live

const at = (id) => document.getElementById(id);
const fold = new Fold();
const chosen = load(localStorage);
const address = new URLSearchParams(location.search);
const filters = new Filters(location.search);
const narrow = matchMedia("(max-width: 800px)");
let told = {}; // the figures that the service told last
let heardAt = 0; // by the browser's passing time, ms
let asOf = 0; // and the server's clock then
let named; // whose session the page shows
let paused = null; // { at, changes } while somebody looks at a still picture
let signedOut = false;

// The server's clock. Ours may be wrong, or be set while we run: it is never asked.
const serverTime = () => (heardAt === 0 ? Date.now() : asOf + browser.now() - heardAt);

// What ages are counted with: it stands still while nobody can say that the calls go on.
function shownTime() {
  if (paused !== null) return paused.at;
  const { state, staleSince } = connection;
  if (state !== "live" && staleSince !== null) return staleSince; // also when worse came after it
  return state === "live" || heardAt === 0 ? serverTime() : asOf;
}

// -- the parts -----------------------------------------------------------------------------

const table = new Table({
  table: at("table"),
  scroller: at("scroller"),
  head: at("heading"),
  body: at("rows"),
  ruler: at("ruler"),
  clock: shownTime,
  now: browser.now,
  schedule: (paint) => requestAnimationFrame(paint), // none in a tab that nobody sees
  admits: (key, record, time) => filters.admits(key, record, time),
  odd: (record, time) => isOdd(record, time, chosen.limits),
  limits: () => chosen.limits,
  open: (key) => openDrawer(key),
  sort(column, up) {
    table.sort(column, up);
    remember();
  },
});
const tiles = new Tiles(at("tiles"));
const attention = new Attention({ list: at("tiles"), live: at("announce"), icon: at("icon") });
const drawer = new Drawer(at("drawer"), {
  clock: serverTime,
  look: () => ({ mask: chosen.mask, limits: chosen.limits }),
  closed: () => at("scroller").focus(),
});
const chips = new Chips(at("chips"), filters, refilter);

const shared = new SharedStream({ session: browser.session, state: everything });
browser.eventSource = (url) => shared.open(url);
const connection = new Connection(
  "/api/v1/live/calls", filters.onServer(), () => fold.id, { event: heard, state: truth }, browser,
);

// What this tab can give to another one: everything, as one snapshot and one heartbeat. A tab that
// nobody sees is called once a minute only: what it believes may be long over, so it looks first.
function everything() {
  connection.look();
  const { state, staleSince } = connection;
  if (!fold.complete || !["live", "stale"].includes(state)) return null;
  const calls = Object.fromEntries(fold.calls);
  const as_of = serverTime();
  const beat = { as_of, source: state, calls: fold.calls.size, digest: fold.digest };
  if (state === "stale") beat.stale_since = staleSince;
  const events = [["snapshot", { part: 1, parts: 1, as_of, calls }], ["kpi", told]];
  // Else the next one of the service is waited for, or silence would count from now again.
  if (browser.now() - heardAt < FRESH_MS) events.push(["heartbeat", beat]);
  return { id: fold.id, events: events.map(([name, data]) => [name, JSON.stringify(data)]) };
}

// -- what comes in -------------------------------------------------------------------------

function heard(name, data, id) {
  if (data.as_of !== undefined) {
    heardAt = browser.now();
    asOf = data.as_of;
  }
  if (name === "kpi") figures(data);
  const change = fold.apply(name, data, id);
  if (change !== null) show(change, data.ended);
  const believed = name !== "heartbeat" || (fold.agrees(data) && fold.complete);
  if (!believed) fold.doubt();
  return believed;
}

function show(change, ended) {
  if (paused === null) {
    table.show(fold.calls, change, ended);
  } else {
    paused.changes += change === "all" ? 1
      : change.added.length + change.changed.length + change.removed.length;
  }
  if (change !== "all") return; // what changes all the time is told twice a second
  chips.offer(fold.calls.values());
  tell();
}

function figures(data) {
  told = data;
  tiles.draw(told.series ?? {});
  at("companies").hidden = told.companies === undefined;
  busiest.fill(at("companies").tBodies[0], told.companies ?? []);
  busiest.fill(at("trunks").tBodies[0], told.trunks ?? []);
  tell();
}

// The gauges are counted here, where the rows are, unless the server keeps some of them from us.
function tell() {
  const all = connection.query.length === 0 && fold.complete;
  const of = (...states) => states.reduce(
    (sum, state) => sum + ((all ? fold.states.get(state) : told[state]) ?? 0), 0);
  const known = all || told.concurrent !== undefined;
  const longest = told.longest_since ?? null;
  tiles.show({
    ...told,
    concurrent: known ? (all ? fold.calls.size : told.concurrent) : null,
    waiting: known ? of("trying", "ringing", "early") : null,
    answered: known ? of("answered") : null,
    held: known ? of("held") : null,
    longest: longest === null ? null : Math.max(0, (shownTime() - longest) / 1000),
  }, told, chosen.thresholds);
  const { count } = table;
  const odd = table.oddKeys.size;
  set(at("found"), `${whole(count)} shown${odd ? `, ${odd} odd ⚠` : ""}`);
  const live = ["live", "stale"].includes(connection.state);
  at("empty").hidden = count > 0 || !live || !fold.complete;
  at("clear").hidden = !filters.any;
  set(at("empty-word"), filters.any ? "No call that is up is one of those you asked for."
    : "No calls are up.");
}

// -- whether to believe it -----------------------------------------------------------------

const WHY = {
  connecting: "Asking for the calls that are up.",
  live: "",
  stale: "What feeds this page is silent.",
  resyncing: "What this page held was wrong.",
  disconnected: "This page does not reach the service.",
  "signed out": "Your login is over.",
};
const HEALS = {
  stale: "It is live again when the nodes are heard.",
  resyncing: "It asks for all calls anew.",
  disconnected: "It goes on trying, every few seconds.",
  "signed out": "",
};
const REASONS = {
  drain: "The service restarts.",
  rotation: "The stream is renewed.",
  overload: "The service has too many streams.",
  starting: "The service is starting.",
  expired: "The login has expired.",
  revoked: "The login was revoked.",
};

function truth() {
  const { state, goodbye, who } = connection;
  const live = state === "live";
  const look = state.replace(" ", "-");
  if (document.body.dataset.truth !== look) document.body.dataset.truth = look;
  // There is something to see, but another view or a whole new snapshot is on its way.
  const word = ["connecting", "resyncing"].includes(state) && heardAt > 0 ? "catching up" : state;
  set(at("truth-word"), word);
  set(at("truth-why"), goodbye !== null && !live ? REASONS[goodbye] ?? goodbye : WHY[state]);
  set(at("truth-age"), live || signedOut || heardAt === 0 ? "" : asTheyWere());
  set(at("truth-heals"), HEALS[state] ?? "");
  set(at("heard"), live ? `data ${length(browser.now() - heardAt)} old` : "");
  at("login").hidden = state !== "signed out";
  if ((state === "signed out") !== signedOut) signOut(state === "signed out");
  if (who !== named) name(who);
  attention.show(live ? tiles.alarms() : [], live || state === "connecting" ? null : word);
}

function asTheyWere() {
  const then = shownTime();
  return `Calls below are as they were at ${timeOfDay(then)}, ${length(serverTime() - then)} ago.`;
}

// Who is signed out sees nothing of what was there, also not greyed.
function signOut(out) {
  signedOut = out;
  at("signed-out").hidden = !out;
  at("logout").hidden = out;
  at("who").hidden = out;
  if (out) forget();
}

function forget() {
  fold.clear();
  told = {};
  resume();
  drawer.close();
  figures({});
  table.show(fold.calls, "all");
  heardAt = 0;
}

function name(who) {
  named = who;
  const company = who?.company_id;
  set(at("who"), who === null ? "" : company === undefined ? who.role : `company ${company}`);
  at("logout").hidden = who === null;
  chips.hide("company_id", company !== undefined);
  dress();
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// -- what people do ------------------------------------------------------------------------

function dress() {
  const own = named?.company_id !== undefined;
  document.documentElement.dataset.theme = chosen.theme;
  document.body.dataset.density = chosen.density;
  document.body.classList.toggle("no-busiest", !chosen.busiest);
  at("show-busiest").setAttribute("aria-pressed", String(chosen.busiest));
  at("set-mask").checked = chosen.mask;
  attention.setSound(chosen.sound && navigator.userActivation?.hasBeenActive === true);
  table.mask = chosen.mask;
  table.raise = chosen.oddFirst;
  const left = new Set([...(own ? ["company"] : []), ...(onWall() ? OFF_THE_WALL : [])]);
  if (narrow.matches) table.setColumns(Object.keys(NARROW), Object.values(NARROW));
  else table.setColumns(chosen.columns.filter((column) => !left.has(column)));
  table.arrange();
  tell();
}

function refilter() {
  const before = JSON.stringify(connection.query);
  const query = filters.onServer();
  table.arrange();
  tell();
  remember();
  if (JSON.stringify(query) === before) return;
  fold.doubt(); // those calls are another view's; shown until its snapshot is here
  connection.reopen(query);
}

// All that somebody may want to send to a colleague is in the address.
function remember() {
  const pairs = filters.pairs();
  const { column, up } = table.sorted;
  if (column !== "age" || !up) pairs.push(["sort", `${up ? "" : "-"}${column}`]);
  if (onWall()) pairs.push(["wall", "1"]);
  const query = new URLSearchParams(pairs).toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
}

function openDrawer(key) {
  drawer.open(key);
  drawer.tick(table.record(key), browser.now());
}

function pause() {
  if (paused !== null) {
    resume();
    return;
  }
  paused = { at: shownTime(), changes: 0 };
  table.show(new Map(fold.calls), "all"); // of this moment; records are never changed in place
  still();
}

function resume() {
  if (paused === null) return;
  paused = null;
  table.show(fold.calls, "all");
  still();
}

function still() {
  at("pause").setAttribute("aria-pressed", String(paused !== null));
  document.body.classList.toggle("paused", paused !== null);
  set(at("pause"), paused === null ? "Pause" : `Go on: ${whole(paused.changes)} changes waiting`);
}

const onWall = () => document.documentElement.classList.contains("wall");

function wall() {
  const on = document.documentElement.classList.toggle("wall");
  at("wall").setAttribute("aria-pressed", String(on));
  dress();
  remember();
}

function choose(change) {
  Object.assign(chosen, change);
  save(localStorage, chosen);
  dress();
}

function save_as(kind) {
  const about = { as_of: Math.round(serverTime()), truth: connection.state };
  const stamp = new Date(about.as_of).toISOString().slice(0, 19).replaceAll(":", "");
  const text = kind === "csv" ? files.csv(table.matching(), chosen.mask)
    : files.json(table.matching(), chosen.mask, about);
  files.save(`live-calls-${stamp}.${kind}`, kind === "csv" ? "text/csv" : "application/json", text);
}

const acts = {
  search: () => at("filter").focus(),
  next: () => table.move(1),
  previous: () => table.move(-1),
  open: () => table.selected !== null && openDrawer(table.selected),
  close: () => drawer.close(),
  pause,
  wall,
  busiest: () => choose({ busiest: !chosen.busiest }),
  mask: () => choose({ mask: !chosen.mask }),
  help: () => at("help").showModal(),
};
keys.listen(acts);
keys.list(at("keys"));
for (const [id, act] of [
  ["pause", pause], ["wall", wall], ["show-busiest", acts.busiest], ["show-help", acts.help],
  ["show-settings", () => at("settings").showModal()], ["csv", () => save_as("csv")],
  ["json", () => save_as("json")], ["clear", clear], ["logout", logout],
]) at(id).addEventListener("click", act);
for (const close of document.querySelectorAll("[data-close]")) {
  close.addEventListener("click", () => close.closest("dialog").close());
}
settings(at("settings"), chosen, () => choose({}));

function clear() {
  filters.clear();
  at("filter").value = "";
  chips.draw();
  refilter();
}

const logins = new BroadcastChannel("livestate login");

async function logout() {
  await fetch("/api/v1/session", { method: "DELETE" });
  logins.postMessage("changed");
  connection.reopen(connection.query);
  connection.probe();
}

// Logged in or out in another tab: the cookie is the same for all of them. What is here, also in a
// still picture, may not be the next one's to see.
logins.addEventListener("message", () => {
  forget();
  connection.reopen(connection.query);
  connection.probe();
});

let typing = null;
at("filter").value = filters.text;
at("filter").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    filters.search(event.target.value);
    refilter();
  }, SEARCH_MS);
});
narrow.addEventListener("change", dress);

// -- and off -------------------------------------------------------------------------------

let ticks = 0;
setInterval(() => {
  ticks += 1;
  truth();
  tell();
  if (paused !== null) still();
  if (document.hidden) return;
  if (ticks % 4 === 0 && paused === null) table.age(filters.longer > 0);
  if (ticks % 8 === 0) chips.offer(fold.calls.values());
  drawer.tick(fold.calls.get(drawer.key), browser.now());
  table.drawSoon(); // ages tick, and who has left fades
}, TICK_MS);

const sort = /^(-?)(\w+)$/.exec(address.get("sort") ?? "");
if (sort !== null && Object.hasOwn(COLUMNS, sort[2])) table.sort(sort[2], sort[1] === "");
if (address.get("wall") === "1") wall();
dress();
chips.offer([]);
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
    tab: shared.role,
  }),
  calls: () => Object.fromEntries(fold.calls),
  figures: () => structuredClone(told),
});
