// The views beside the table of calls: tabs above it, one panel at a time in its place.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { length, plain, timeOfDay } from "../text/text.js";
import { Failures } from "./failures.js";
import { Poll } from "./poll.js";
import { Trunks } from "./trunks.js";

const CALLS = "calls"; // the table
const PANELS = { trunks: Trunks, failures: Failures };
const NAMES = [CALLS, ...Object.keys(PANELS)];

export const panelIn = (search) => {
  const wanted = new URLSearchParams(search).get("panel");
  return NAMES.includes(wanted) ? wanted : CALLS;
};

export class Panels {
  // `main`: where tabs and panels go; `scroller`: the table, hidden while a panel is shown.
  // `company()`: the one company that is filtered for, or null. `changed()`: another tab was chosen.
  constructor({ main, scroller, company, changed }) {
    Object.assign(this, { main, scroller, company, changed });
    this.name = CALLS;
    this.data = null;
    this.asked = null; // the company of `data`
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
    this.panels = new Map(Object.entries(PANELS).map(([name, Panel]) => [name, new Panel()]));
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
    tab.addEventListener("click", () => {
      this.choose(name);
      this.changed();
    });
    return tab;
  }

  // Arrow keys move between tabs (ARIA Authoring Practices, "Tabs").
  onKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const name = NAMES[(NAMES.indexOf(this.name) + step + NAMES.length) % NAMES.length];
    this.choose(name);
    this.tabs.get(name).focus();
    this.changed();
    event.preventDefault();
    event.stopPropagation();
  }

  choose(name) {
    this.name = name;
    for (const [one, tab] of this.tabs) {
      tab.setAttribute("aria-selected", String(one === name));
      tab.tabIndex = one === name ? 0 : -1;
    }
    this.scroller.hidden = name !== CALLS;
    this.box.hidden = name === CALLS;
    this.box.setAttribute("aria-labelledby", `tab-${name}`);
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

  // The filters may name another company now.
  look() {
    if (this.name !== CALLS && this.asked !== this.company()) this.forget();
  }

  // Keep nothing of what was received, and ask again: another login may be here.
  forget() {
    this.data = null;
    for (const panel of this.panels.values()) panel.forget();
    if (this.name !== CALLS) this.choose(this.name);
  }

  url() {
    this.asked = this.company();
    const query = this.asked === null ? "" : `?${new URLSearchParams({ company_id: this.asked })}`;
    return `api/v1/live/trunks${query}`;
  }

  show(data) {
    this.data = data;
    this.box.classList.remove("old");
    this.draw();
  }

  fail(reason) {
    const said = reason ?? t("panels.no_answer");
    this.box.classList.add("old");
    setText(this.about, this.data === null
      ? t("panels.failed_first", { reason: said })
      : t("panels.failed", { time: timeOfDay(this.data.as_of), reason: said }));
  }

  draw() {
    const { data } = this;
    const whose = data.company_id === null
      ? t("panels.of_all") : t("panels.of_company", { company: plain(data.company_id) });
    setText(this.about, t("panels.about", {
      whose,
      window: length(data.window_seconds * 1000),
      time: timeOfDay(data.as_of),
      next: data.next_seconds,
    }));
    this.panels.get(this.name).draw(data);
  }
}
