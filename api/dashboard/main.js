// The page: puts its parts together, and passes on what one part needs of another.
//
// stream → LiveCalls → table, figures, status bar; the operator → filters, keys, preferences.

import * as address from "./address.js";
import { byId, setText } from "./elements.js";
import { Attention } from "./figures/attention.js";
import { FigurePanel } from "./figures/panel.js";
import { SlowClients } from "./figures/slow-clients.js";
import { exposeState } from "./inspection.js";
import { listenToLinks } from "./links.js";
import { LiveCalls } from "./live-calls.js";
import { Panels } from "./panels/panels.js";
import { warnOfPlainHttp } from "./session/responses.js";
import { Session } from "./session/session.js";
import * as appearance from "./settings/appearance.js";
import { ColumnChoice } from "./settings/column-choice.js";
import { ColumnSettings } from "./settings/column-settings.js";
import { listenToButtons, listenToKeys } from "./settings/actions.js";
import { load, save } from "./settings/preferences.js";
import { showSettings } from "./settings/settings.js";
import { AlarmBadge } from "./status/alarm-badge.js";
import { ViewMenu } from "./settings/view-menu.js";
import { Wall } from "./settings/wall.js";
import * as views from "./settings/views.js";
import { StatusBar } from "./status/status-bar.js";
import { anomalyOf } from "./table/anomalies.js";
import { Drawer } from "./table/drawer.js";
import * as files from "./table/export.js";
import { FilterBar } from "./table/filter-bar.js";
import { Filters } from "./table/filters.js";
import { Hold } from "./table/hold.js";
import { Pause } from "./table/pause.js";
import { Summary } from "./table/summary.js";
import { Table } from "./table/table.js";
import { t, translate } from "./text/catalogue.js";

const TICK_MS = 500;

translate(document);
const preferences = load(localStorage);
const columns = new ColumnChoice(preferences, () => {
  prefer({});
  columnSettings.draw();
  writeAddress();
});
const columnSettings = new ColumnSettings(columns);
const filters = new Filters(location.search);
filters.limits = preferences.limits;
const live = new LiveCalls(filters.onServer(), {
  change: showChange, figures: showFigures, state: showConnection,
  login: (who) => session.recognise(who),
});
const callTime = () => pause.since ?? live.callTime();
const table = new Table({
  table: byId("table"),
  scroller: byId("scroller"),
  head: byId("heading"),
  body: byId("rows"),
  ruler: byId("ruler"),
  clock: callTime,
  now: live.now,
  schedule: (paint) => requestAnimationFrame(paint), // not called in a hidden tab
  admits: (key, record, time) => filters.admits(key, record, time),
  anomalyOf: (record, time) => anomalyOf(record, time, preferences.limits),
  limits: () => preferences.limits,
  open: (key) => openDrawer(key),
  heading: {
    sort(column, up) {
      table.sort(column, up);
      writeAddress();
    },
    move: (column, other) => columns.moveTo(column, other),
    resize(column, rem, done) {
      if (done) columns.resize(column, rem);
      else table.setWidths(columns.widths(table.heading.names).with(table.heading.names.indexOf(column), `${rem}rem`));
    },
  },
});
const pause = new Pause(table, live);
const hold = new Hold({
  table,
  body: byId("rows"),
  button: byId("held"),
  now: live.now,
  changed: () => table.draw(),
  pointerHolds: () => !appearance.isWall(),
  drawerOpen: () => drawer.key !== null,
});
const figures = new FigurePanel(live, () => filters.companies);
const attention = new Attention({
  list: byId("tiles"), announcements: byId("announce"), icon: byId("icon"),
});
const slowClients = new SlowClients(byId("slow-clients"));
const statusBar = new StatusBar(live, pause);
const drawer = new Drawer(byId("drawer"), {
  clock: () => live.serverTime(),
  options: () => ({ mask: preferences.mask, limits: preferences.limits }),
  closed: () => byId("table").focus({ preventScroll: true }),
  changed: () => writeAddress(),
});
const filterBar = new FilterBar(filters, applyFilters);
const panels = new Panels({
  main: document.querySelector("main"),
  scroller: byId("scroller"),
  filters: () => filters.onServer(),
  changed: () => writeAddress(),
  mask: () => preferences.mask,
  open: (key) => openDrawer(key),
});
const alarmBadge = new AlarmBadge(byId("alarm-badge"), {
  fresh: () => attention.sound && attention.tone(),
  changed: () => panels.alarmsChanged(),
  open: () => panels.open("alarms"),
});
const viewMenu = new ViewMenu(byId("pause"), () => viewAddress(columns.pairs(true)));
const summary = new Summary(filters, showAnomalies);
const session = new Session({
  forget, startOver, reload, verify: () => live.connection.probe(), changed: showLogin,
});

// -- from the stream -----------------------------------------------------------------------

function showChange(change) {
  if (pause.on) pause.count(change);
  else table.show(live.fold.calls, change);
  if (change !== "all") return; // the tick updates counts and menus twice a second
  filterBar.menus.offer(live.fold.calls.values());
  update();
}

function showFigures() {
  figures.draw();
  alarmBadge.show(live.figures.alarms);
  update();
}

// What depends on the calls, the figures and the time together.
function update() {
  figures.update(live.callTime()); // they go on while the table is paused
  summary.show(table.listing, live);
  showWords();
}

// What the table is narrowed to, in words: a wall and paper have no filter bar.
function showWords() {
  const words = filters.words();
  setText(byId("view"), words ? t("words.table_only", { filters: words }) : "");
}

function showConnection() {
  const { state, who } = live.connection;
  statusBar.show();
  session.show(state === "signed out", who);
  const calm = state === "connecting" || statusBar.word === "live";
  const trouble = calm ? null : statusBar.word;
  attention.show(state === "live" ? figures.tiles.alarms() : [], trouble);
}

// -- whose page it is ----------------------------------------------------------------------

function forget() {
  live.forget();
  pause.resume();
  drawer.forget();
  showFigures();
  table.forget();
  filterBar.menus.offer([], true);
  attention.forget();
  alarmBadge.forget();
  files.forget();
  panels.forget();
  viewMenu.forget();
  getSelection()?.removeAllRanges();
}

function startOver() {
  forget();
  address.disown();
  filterBar.clear();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  writeAddress();
  live.connection.reopen(filters.onServer());
}

function reload() {
  forget();
  writeAddress(); // without the open call
  live.connection.reopen(live.connection.query);
}

function showLogin(who) {
  filterBar.menus.hide("company_id", who?.company_id !== undefined);
  slowClients.login(who);
  panels.login(who?.company_id !== undefined);
  views.use(who);
  applyPreferences();
}

// -- from the operator ---------------------------------------------------------------------

function showAnomalies(kind) {
  filters.why = kind;
  filterBar.menus.draw();
  applyFilters();
}

function applyFilters() {
  filters.ignored = []; // the address is written anew
  showFiltered();
}

function showFiltered() {
  table.rebuild();
  figures.draw();
  update();
  writeAddress();
  live.narrow(filters.onServer());
  panels.look();
}

// Show the view of an address: of a link, or of the browser's history.
function showView(search) {
  filters.read(search);
  filterBar.draw();
  restore(search);
  showFiltered();
}

// What an address says beside the filters.
function restore(search) {
  const linked = address.callIn(search);
  const { column, up } = address.sortIn(search) ?? address.DEFAULT_SORT;
  if (table.sorted.column !== column || table.sorted.up !== up) table.sort(column, up);
  if (address.isWallIn(search) !== appearance.isWall()) switchWall();
  columns.read(search);
  columnSettings.draw();
  panels.restore(search);
  applyPreferences(); // once wall and panel are known: a wall asks for what it shows
  if (linked !== null) openDrawer(linked.key, linked);
  else drawer.close();
}

// `more`: [name, value] pairs beside filters, order, screen and panel.
function viewAddress(more) {
  return address.queryOf(filters.pairs(), table.sorted, appearance.isWall(), [...panels.pairs(), ...more]);
}

function writeAddress() {
  address.write(viewAddress([...columns.pairs(), ...drawer.pairs()]), appearance.isWall());
}

function applyPreferences() {
  appearance.apply(preferences, session.who?.company_id !== undefined, { table, attention, columns });
  panels.redraw();
  update();
}

function prefer(change) {
  Object.assign(preferences, change);
  save(localStorage, preferences);
  applyPreferences();
}

function switchWall() {
  pause.resume(); // a wall cannot be paused
  appearance.toggleWall();
}

function toggleWall() {
  switchWall();
  applyPreferences();
  writeAddress();
}

function openDrawer(key, known) {
  drawer.open(key, known);
  hold.update();
  drawer.tick(table.listing.record(key), live.now());
}

function download(kind) {
  files.download(kind, table.listing.matching(), preferences.mask, {
    as_of: Math.round(callTime()), truth: statusBar.word,
  });
}

const actions = {
  search: () => byId("filter").focus(),
  next: () => table.move(1),
  previous: () => table.move(-1),
  open: () => table.selected !== null && openDrawer(table.selected),
  close() {
    if (wall.away) wall.restore();
    else if (drawer.key === null && appearance.isWall()) toggleWall();
    drawer.close();
  },
  pause: () => appearance.isWall() || pause.toggle(),
  wall: toggleWall,
  topTalkers: () => prefer({ topTalkers: !preferences.topTalkers }),
  mask: () => prefer({ mask: !preferences.mask }),
  help: () => byId("help").showModal(),
  settings: () => byId("settings").showModal(),
  csv: () => download("csv"),
  json: () => download("json"),
};
listenToKeys(actions);
listenToButtons(actions);
showSettings(preferences, () => prefer({}));
appearance.onScreenChange(applyPreferences);

// -- start ---------------------------------------------------------------------------------

const wall = new Wall({
  now: live.now, table, drawer, hold,
  present: () => viewAddress(columns.pairs()),
  show(search) {
    showView(search);
    writeAddress();
  },
});
let ticks = 0;
setInterval(() => {
  ticks += 1;
  hold.update();
  showConnection();
  update();
  wall.tick();
  if (pause.on) pause.draw();
  if (document.hidden) return;
  if (ticks % 4 === 0 && !pause.on) table.listing.recheck(filters.byTime);
  if (ticks % 8 === 0) filterBar.menus.offer(live.fold.calls.values());
  drawer.tick(live.fold.calls.get(drawer.key), live.now());
  table.drawSoon(); // ages grow, ended calls fade
}, TICK_MS);

restore(location.search);
address.onBack(showView, writeAddress);
listenToLinks((href) => {
  address.push(href);
  showView(new URL(href).search);
});
applyPreferences();
filterBar.menus.offer([]);
showConnection();
warnOfPlainHttp();
live.start();
exposeState(live);
