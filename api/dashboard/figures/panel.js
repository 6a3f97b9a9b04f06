// The figures of the page: the tiles, and the top talkers beside the table.

import { byId, setText } from "../elements.js";
import { Tiles } from "./tiles.js";
import * as topTalkers from "./top-talkers.js";
import { sumOf, whoseText } from "./whose.js";

export class FigurePanel {
  // `companies()` gives the companies that the operator chose.
  constructor(liveCalls, companies) {
    this.liveCalls = liveCalls;
    this.companies = companies;
    this.tiles = new Tiles(byId("tiles"));
  }

  // Whether several companies are chosen. The service has no figures of them.
  get several() {
    return this.companies().length > 1;
  }

  // After each `kpi` event: figures that only the service counts.
  draw() {
    const { figures } = this.liveCalls;
    this.tiles.draw(this.several ? {} : figures.series ?? {});
    byId("companies").hidden = figures.companies === undefined;
    topTalkers.fill(byId("companies").tBodies[0], "company_id", figures.companies ?? []);
    topTalkers.fill(byId("trunks").tBodies[0], "trunk", figures.trunks ?? []);
  }

  // Counts of live calls come from the calls themselves, so that tiles and table agree. If the
  // service filters the stream, they come from the last `kpi` event. `now`: ms since the epoch.
  update(now) {
    const { connection, fold } = this.liveCalls;
    const all = connection.query.length === 0 && fold.complete;
    const { several } = this;
    const sum = several && all ? sumOf(this.companies(), fold.calls.values()) : {};
    const figures = several ? sum : this.liveCalls.figures;
    const counted = all && !several;
    const known = counted || figures.concurrent !== undefined;
    const count = (...states) => (known
      ? states.reduce((total, state) => total + ((counted ? fold.states.get(state) : figures[state]) ?? 0), 0)
      : null);
    const longestSince = figures.longest_since ?? null;
    setText(byId("whose-figures"), whoseText(this.companies(), connection.who));
    this.tiles.show({
      ...figures,
      concurrent: counted ? fold.calls.size : figures.concurrent ?? null,
      waiting: count("trying", "ringing", "early"),
      answered: count("answered"),
      held: count("held"),
      longest: longestSince === null ? null : Math.max(0, (now - longestSince) / 1000),
    }, figures);
  }
}
