// The figures of the page: the tiles, and the top talkers beside the table.

import { byId } from "../elements.js";
import { Tiles } from "./tiles.js";
import * as topTalkers from "./top-talkers.js";

export class FigurePanel {
  constructor(liveCalls) {
    this.liveCalls = liveCalls;
    this.tiles = new Tiles(byId("tiles"));
  }

  // After each `kpi` event: figures that only the service counts.
  draw() {
    const { figures } = this.liveCalls;
    this.tiles.draw(figures.series ?? {});
    byId("companies").hidden = figures.companies === undefined;
    topTalkers.fill(byId("companies").tBodies[0], figures.companies ?? []);
    topTalkers.fill(byId("trunks").tBodies[0], figures.trunks ?? []);
  }

  // Counts of live calls come from the calls themselves, so that tiles and table agree. If the
  // service filters the stream, they come from the last `kpi` event. `now`: ms since the epoch.
  update(now, thresholds) {
    const { connection, figures, fold } = this.liveCalls;
    const all = connection.query.length === 0 && fold.complete;
    const known = all || figures.concurrent !== undefined;
    const count = (...states) => (known
      ? states.reduce((sum, state) => sum + ((all ? fold.states.get(state) : figures[state]) ?? 0), 0)
      : null);
    const longestSince = figures.longest_since ?? null;
    this.tiles.show({
      ...figures,
      concurrent: all ? fold.calls.size : figures.concurrent ?? null,
      waiting: count("trying", "ringing", "early"),
      answered: count("answered"),
      held: count("held"),
      longest: longestSince === null ? null : Math.max(0, (now - longestSince) / 1000),
    }, figures, thresholds);
  }
}
