// What a wall shows between its figures and its calls: the worst trunks, the alarms that are raised, and
// charts of the last hour. Each part asks for its document only while it is on the wall.

import { setText } from "../elements.js";
import { isWall } from "../settings/appearance.js";
import { t } from "../text/catalogue.js";
import { timeOfDay, whole } from "../text/text.js";
import { Alarms } from "./alarms.js";
import { Charts } from "./charts.js";
import { make } from "./dom.js";
import { Poll } from "./poll.js";
import { Trunks } from "./trunks.js";

const ROOM = matchMedia("(min-width: 801px) and (min-height: 561px)"); // a smaller screen has the calls only
const MOST_ROWS = 8;
const HOUR = "hour";

// One document and what is drawn of it.
class Part {
  // `document`: its name in the API; `query()`: what is asked, as [name, value] pairs; `draw(data, part)`
  // draws it; `panel`: one of the panels.
  constructor({ document, query, panel, draw }) {
    Object.assign(this, { document, query, panel, drawData: draw });
    this.title = make("h2");
    this.note = make("p", { className: "bad" });
    this.element = make("section", {}, this.title, this.note, panel.element);
    this.element.dataset.part = document;
    this.data = null;
    this.asked = null; // the address of `data`
    this.poll = new Poll({
      url: () => {
        this.asked = this.address();
        return this.asked;
      },
      show: (data) => {
        this.data = data;
        this.explain(null);
        this.draw();
      },
      fail: (reason) => this.explain(reason ?? t("panels.no_answer")),
    });
  }

  address() {
    return `api/v1/live/${this.document}?${new URLSearchParams(this.query())}`;
  }

  draw() {
    if (this.data !== null) this.drawData(this.data, this);
  }

  // `reason`: why the data is old, null if it is not.
  explain(reason) {
    this.element.classList.toggle("old", reason !== null);
    if (reason === null) setText(this.note, "");
    else if (this.data === null) setText(this.note, t("panels.failed_first", { reason }));
    else setText(this.note, t("panels.failed", { time: timeOfDay(this.data.as_of), reason }));
  }

  forget() {
    this.data = null;
    this.panel.forget();
    setText(this.title, "");
    this.explain(null);
  }

  // Show as many rows as there is room for. `show(rows)` draws them.
  fit(all, show) {
    let count = Math.min(MOST_ROWS, all.length);
    show(all.slice(0, count));
    while (count > 1 && this.element.scrollHeight > this.element.clientHeight) {
      count -= 1;
      show(all.slice(0, count));
    }
  }
}

export class Board {
  // `companies()`: the companies that the view is narrowed to, as [name, value] pairs.
  constructor(companies) {
    this.on = false;
    const alarms = new Alarms({ again: () => this.alarmsChanged() });
    const charts = new Charts({ window: () => HOUR, charts: ["live", "quality"], wall: true });
    this.parts = [
      new Part({ document: "trunks", query: companies, panel: new Trunks(), draw: drawTrunks }),
      new Part({ document: "alarms", query: companies, panel: alarms, draw: drawAlarms }),
      new Part({
        document: "history", query: () => [...companies(), ["window", HOUR]], panel: charts,
        draw(data, { title, panel }) {
          setText(title, t("charts.hour"));
          panel.draw(data);
        },
      }),
    ];
    this.element = make("div", { id: "board", hidden: true }, ...this.parts.map(({ element }) => element));
    // The room for rows is another one: of the screen, or because alarms came or went below the trunks.
    const [trunks, raised] = this.parts;
    const room = new ResizeObserver(() => {
      if (!this.on) return;
      raised.draw();
      trunks.draw();
    });
    for (const element of [this.element, trunks.element]) room.observe(element);
  }

  // `calls`: whether the page shows the calls, and no panel. The screen, the filters or preferences may
  // be others than before.
  look(calls) {
    const on = calls && isWall() && ROOM.matches;
    this.element.hidden = !on;
    for (const part of this.parts) {
      if (on && part.asked !== null && part.asked !== part.address()) part.forget();
      if (on && (!this.on || part.asked !== part.address())) part.poll.start();
      else if (!on && this.on) part.poll.stop();
      else if (on) part.draw();
    }
    this.on = on;
  }

  // The alarms are others now: do not wait until it is time to ask.
  alarmsChanged() {
    if (this.on) this.parts[1].poll.ask();
  }

  // Keep nothing of what was received, and ask again: another login may be here.
  forget() {
    for (const part of this.parts) {
      part.forget();
      if (this.on) part.poll.ask();
    }
  }
}

function drawTrunks(data, part) {
  part.fit(data.trunks, (trunks) => {
    part.panel.draw({ ...data, trunks });
    setText(part.title, t("wall.trunks", { shown: whole(trunks.length), count: whole(data.trunks.length) }));
  });
}

function drawAlarms(data, part) {
  const level = ({ level: of }) => Number(of !== "alarm");
  const raised = data.alarms.filter((one) => one.cleared_at === undefined).sort((a, b) => level(a) - level(b));
  part.fit(raised, (alarms) => {
    part.panel.draw({ ...data, alarms });
    setText(part.title, raised.length === 0 ? t("alarms.none_raised")
      : t("wall.alarms", { shown: whole(alarms.length), count: whole(raised.length) }));
  });
}
