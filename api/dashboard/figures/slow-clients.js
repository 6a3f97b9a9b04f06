// The slowest clients of the instance that answers, beside the table: for administrators only.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { gap, plain, whole } from "../text/text.js";

const PATH = "api/v1/live/clients";
const EVERY_MS = 5000;

export class SlowClients {
  // `table` is hidden until an administrator is logged in: the service refuses others.
  constructor(table) {
    this.table = table;
    this.timer = null;
  }

  // Another login is shown; null: none.
  login(who) {
    clearInterval(this.timer);
    this.timer = null;
    this.table.hidden = true;
    this.fill([]);
    if (who?.role !== "admin") return;
    this.timer = setInterval(() => this.ask(), EVERY_MS);
    this.ask();
  }

  async ask() {
    if (document.hidden) return;
    const asked = this.timer;
    let clients;
    try {
      const response = await fetch(PATH, { signal: AbortSignal.timeout(EVERY_MS) });
      if (!response.ok) return;
      ({ clients } = await response.json());
    } catch {
      return; // the status bar says that the service cannot be reached
    }
    if (asked === null || asked !== this.timer) return; // another login meanwhile
    this.table.hidden = false;
    this.fill(clients);
  }

  fill(clients) {
    const [body] = this.table.tBodies;
    body.replaceChildren(...clients.map((client) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      const cells = [name, ...[0, 1, 2].map(() => document.createElement("td"))];
      const versions = client.lag_versions === null ? t("top.no_state_yet") : whole(client.lag_versions);
      const texts = [client.subject, versions, gap(client.lag_ms), `${whole(client.lag_bytes)} B`];
      texts.forEach((text, index) => setText(cells[index], plain(text)));
      name.title = plain([client.subject, client.address, client.company_id].filter(Boolean).join(" · "));
      row.append(...cells);
      return row;
    }));
    this.table.tFoot.hidden = clients.length > 0;
  }
}
