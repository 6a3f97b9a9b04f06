// The views beside the table of calls: tabs above it, one panel at a time in its place.

import { setText } from "../elements.js";
import { valuesIn } from "../table/values.js";
import { t } from "../text/catalogue.js";
import { length, plain, timeOfDay, whole } from "../text/text.js";
import { Alarms } from "./alarms.js";
import { Board } from "./board.js";
import { Charts, WINDOWS } from "./charts.js";
import { Companies } from "./companies.js";
import { Destinations } from "./destinations.js";
import { Ended } from "./ended.js";
import { Failures } from "./failures.js";
import { Hints } from "./hints.js";
import { Nodes } from "./nodes.js";
import { Poll } from "./poll.js";
import { Trunks } from "./trunks.js";

const CALLS = "calls"; // the table
const PANELS = {
  trunks: Trunks, failures: Failures, companies: Companies, nodes: Nodes, destinations: Destinations,
  hints: Hints, ended: Ended, alarms: Alarms, charts: Charts,
};
const DOCUMENTS = {
  trunks: "trunks", failures: "trunks", companies: "companies", nodes: "nodes",
  destinations: "destinations", hints: "hints", ended: "ended", alarms: "alarms", charts: "history",
};
const OF_ALL_CALLS = ["companies", "nodes"]; // for roles that see all calls, whatever filters there are
const CODE = /^[a-z0-9_]{1,24}$/;
const NAMES = [CALLS, ...Object.keys(PANELS)];

export const panelIn = (search) => {
  const wanted = new URLSearchParams(search).get("panel");
  return NAMES.includes(wanted) ? wanted : CALLS;
};

export class Panels {
  // `main`: where tabs and panels go; `scroller`: the table, hidden while a panel is shown.
  // `filters()`: those that the service applies, as [name, value] pairs. `changed()`: another tab
  // was chosen. `mask()`: whether numbers are hidden. `open(key)`: show a call.
  constructor({ main, scroller, filters, changed, mask, open }) {
    Object.assign(this, { main, scroller, filters, changed });
    this.name = CALLS;
    this.code = null; // the SIP response or outcome that ended calls are narrowed to
    this.window = WINDOWS[0]; // of the charts
    this.data = null;
    this.failed = null; // why `data` is old, in words
    this.asked = null; // the address of `data`
    this.tabs = new Map(NAMES.map((name) => [name, this.makeTab(name)]));
    const list = Object.assign(document.createElement("div"), { id: "tabs" });
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", t("panels.label"));
    list.append(...this.tabs.values());
    list.addEventListener("keydown", (event) => this.onKey(event));
    this.box = Object.assign(document.createElement("section"), { id: "panel", hidden: true });
    this.box.setAttribute("role", "tabpanel");
    this.box.tabIndex = 0;
    this.about = Object.assign(document.createElement("p"), { id: "panel-about" });
    this.body = document.createElement("div");
    this.box.append(this.about, this.body);
    main.prepend(list);
    scroller.after(this.box);
    this.board = new Board(() => this.companies());
    this.box.after(this.board.element);
    this.panels = new Map(Object.entries(PANELS).map(([name, Panel]) => [name, new Panel({
      mask, open, trunks: () => this.trunks(), code: () => this.code, showAll: () => this.narrow(null),
      again: () => this.poll.ask(), window: () => this.window, chooseWindow: (name) => this.chooseWindow(name),
    })]));
    this.poll = new Poll({
      url: () => this.url(),
      show: (data) => this.show(data),
      fail: (reason) => this.fail(reason),
    });
    this.choose(CALLS);
  }

  makeTab(name) {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${name}`;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", name === CALLS ? "scroller" : "panel");
    tab.textContent = t(`panels.${name}`);
    tab.addEventListener("click", () => this.open(name));
    return tab;
  }

  open(name) {
    this.choose(name);
    this.changed();
  }

  // Arrow keys move between tabs (ARIA Authoring Practices, "Tabs").
  onKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const names = NAMES.filter((one) => !this.tabs.get(one).hidden);
    const name = names[(names.indexOf(this.name) + step + names.length) % names.length];
    this.choose(name);
    this.tabs.get(name).focus();
    this.changed();
    event.preventDefault();
    event.stopPropagation();
  }

  // What the page's address says of panels, as [name, value] pairs.
  pairs() {
    if (this.name === CALLS) return [];
    const day = this.name === "charts" && this.window !== WINDOWS[0];
    return [["panel", this.name], ...(this.code !== null ? [["code", this.code]] : []),
      ...(day ? [["window", this.window]] : [])];
  }

  // Show what the address says.
  restore(search) {
    const code = new URLSearchParams(search).get("code");
    this.code = code !== null && CODE.test(code) ? code : null;
    const window = new URLSearchParams(search).get("window");
    this.window = WINDOWS.includes(window) ? window : WINDOWS[0];
    const wanted = panelIn(search);
    this.choose(this.tabs.get(wanted).hidden ? CALLS : wanted);
  }

  narrow(code) {
    this.code = code;
    this.forget();
    this.changed();
  }

  chooseWindow(name) {
    this.window = name;
    this.forget();
    this.changed();
  }

  choose(name) {
    if (this.data !== null && DOCUMENTS[name] !== DOCUMENTS[this.name]) this.data = null;
    if (this.data === null) this.failed = null;
    this.name = name;
    for (const [one, tab] of this.tabs) {
      tab.setAttribute("aria-selected", String(one === name));
      tab.tabIndex = one === name ? 0 : -1;
    }
    this.scroller.hidden = name !== CALLS;
    this.box.hidden = name === CALLS;
    this.box.setAttribute("aria-labelledby", `tab-${name}`);
    this.board.look(name === CALLS);
    if (name === CALLS) {
      this.poll.stop();
      return;
    }
    this.box.dataset.panel = name;
    this.body.replaceChildren(this.panels.get(name).element);
    if (this.data !== null) this.draw();
    else setText(this.about, t("panels.loading"));
    this.poll.start();
  }

  // The alarms are others now: do not wait until it is time to ask.
  alarmsChanged() {
    if (this.name === "alarms") this.poll.ask();
    this.board.alarmsChanged();
  }

  // The filters may be others now.
  look() {
    this.board.look(this.name === CALLS);
    if (this.name !== CALLS && this.asked !== this.address()) this.forget();
    else if (this.name === "failures" && this.data !== null) this.draw(); // by trunk
  }

  // Keep nothing of what was received, and ask again: another login may be here.
  forget() {
    this.data = null;
    for (const panel of this.panels.values()) panel.forget();
    this.board.forget();
    if (this.name !== CALLS) this.choose(this.name);
  }

  // A login of one company has no panel of all companies or nodes.
  login(ofCompany) {
    for (const name of OF_ALL_CALLS) this.tabs.get(name).hidden = ofCompany;
    if (ofCompany && OF_ALL_CALLS.includes(this.name)) {
      this.choose(CALLS);
      this.changed();
    }
  }

  companies() {
    return this.filters().filter(([name]) => name === "company_id");
  }

  trunks() {
    const found = this.filters().find(([name]) => name === "trunk");
    return found === undefined ? [] : valuesIn(found[1]);
  }

  // Trunks are shown whatever filters there are but of one company; ended calls also by trunk.
  address() {
    const ended = this.name === "ended";
    const query = new URLSearchParams(OF_ALL_CALLS.includes(this.name) ? [] : this.filters().filter(
      ([name]) => name === "company_id" || (ended && name === "trunk"),
    ));
    if (ended && this.code !== null) query.set("code", this.code);
    if (this.name === "charts") query.set("window", this.window);
    return `api/v1/live/${DOCUMENTS[this.name]}?${query}`;
  }

  url() {
    this.asked = this.address();
    return this.asked;
  }

  show(data) {
    this.data = data;
    this.failed = null;
    this.box.classList.remove("old");
    this.draw();
  }

  fail(reason) {
    this.failed = reason ?? t("panels.no_answer");
    this.box.classList.add("old");
    this.explain();
  }

  // Preferences may be others now: the zone of times, or whether numbers are hidden.
  redraw() {
    this.board.look(this.name === CALLS);
    if (this.name !== CALLS && this.data !== null) this.draw();
  }

  draw() {
    this.explain();
    this.panels.get(this.name).draw(this.data);
  }

  // Whose figures these are, and of when.
  explain() {
    const { data, failed } = this;
    if (failed !== null) {
      setText(this.about, data === null
        ? t("panels.failed_first", { reason: failed })
        : t("panels.failed", { time: timeOfDay(data.as_of), reason: failed }));
      return;
    }
    const whose = data.company_id === null
      ? t("panels.of_all") : t("panels.of_company", { company: plain(data.company_id) });
    const { window_seconds: seconds } = data;
    setText(this.about, t(seconds === undefined ? "panels.about_now" : "panels.about", {
      whose,
      window: length((seconds ?? 0) * 1000),
      time: timeOfDay(data.as_of),
      next: whole(data.next_seconds),
    }));
  }
}
