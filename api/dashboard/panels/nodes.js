// The SIP nodes, the worst first: whether their calls are confirmed, and what is wrong if not.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { counted, gap, length, plain, whole } from "../text/text.js";
import { make, nodeLink, tableWith } from "./dom.js";
import { KeyedRows } from "./keyed-rows.js";

const COLUMNS = ["calls", "dialogs", "heard", "numbering", "number", "gaps", "listed", "clock"];
const or = (value, format) => (value === null ? "–" : format(value));
const ago = (ms) => t("nodes.ago", { time: gap(ms) });

export class Nodes {
  constructor() {
    const titles = COLUMNS.map((name) => t(`nodes.${name}`));
    this.table = tableWith(t("panels.nodes"), [t("nodes.node"), ...titles]);
    this.table.className = "nodes";
    this.note = make("p");
    this.element = make("div", {}, this.note, this.table,
      make("p", { className: "rules", textContent: t("nodes.rules") }));
    this.rows = new KeyedRows(this.table.tBodies[0], (node) => new Row(node));
  }

  forget() {
    this.rows.forget();
    setText(this.note, "");
  }

  draw({ nodes, more }) {
    this.rows.show(nodes, ({ node }) => node);
    this.table.hidden = nodes.length === 0;
    setText(this.note, nodes.length === 0 ? t("nodes.none")
      : more === 0 ? "" : counted("nodes.more", more));
  }
}

class Row {
  constructor(node) {
    this.sign = make("span", { className: "sign" });
    this.why = make("small", { className: "alarms" });
    this.cells = COLUMNS.map(() => make("td", { className: "number" }));
    const name = nodeLink(node, t("links.calls_of", { name: plain(node) }));
    this.element = make("tr", {}, make("th", { scope: "row" }, this.sign, name, this.why), ...this.cells);
  }

  show(figures) {
    const { level } = figures;
    this.element.dataset.level = level;
    this.sign.title = level && t(`alarm.${level}`);
    setText(this.why, reasons(figures).join(" "));
    const texts = [
      whole(figures.calls), or(figures.dialogs, whole),
      or(figures.silent_ms, ago), // since the last message
      figures.epoch_ms === null ? t("nodes.not_since_start") : t("nodes.since", { time: length(figures.epoch_ms) }),
      or(figures.seq, whole), t("nodes.lost", { gaps: whole(figures.gaps), missing: whole(figures.missing) }),
      or(figures.listed_ms, ago), clock(figures.clock_ahead_ms),
    ];
    texts.forEach((text, index) => setText(this.cells[index], text));
    this.cells[3].title = or(figures.epoch, (epoch) => t("nodes.epoch", { epoch }));
  }
}

function clock(ahead) {
  if (ahead === 0) return t("nodes.right");
  return t(ahead > 0 ? "nodes.ahead" : "nodes.behind", { time: gap(Math.abs(ahead)) });
}

// The reasons why a node is not healthy, each a sentence with its time. Pure.
export function reasons(figures) {
  const said = figures.troubles.map(({ what, reason, since_ms: since, ahead_ms: ahead }) => t(`nodes.why.${what}`, {
    since: since === null ? "–" : length(since), reason: plain(reason), clock: clock(ahead),
  }));
  const { health, unconfirmed_ms: unconfirmed, waits_for_list: waits, missing } = figures;
  if (["unconfirmed", "expired"].includes(health)) {
    said.push(t(`nodes.why.${health}`, { since: length(unconfirmed ?? 0) }));
  } else if (health === "gap") said.push(counted("nodes.why.gap", missing));
  else if (waits) said.push(t("nodes.why.waits"));
  if (figures.unlisted_dialogs > 0) said.push(t("nodes.why.unlisted", { count: whole(figures.unlisted_dialogs) }));
  return said;
}
