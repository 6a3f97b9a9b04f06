// The top talkers: companies and trunks by concurrent calls, with the peak of the day.

import { setText } from "../elements.js";
import { aim, alone, makeLink } from "../links.js";
import { t } from "../text/catalogue.js";
import { plain, whole } from "../text/text.js";

const MAX_ROWS = 8;

// Fill a table's body with the first of `rows`, each [name, calls now, peak today, …]. A name is a
// link to the calls whose `field` it is.
export function fill(body, field, rows) {
  const most = Math.max(1, ...rows.map(([, , peak]) => peak));
  const wanted = rows.slice(0, MAX_ROWS);
  while (body.children.length > wanted.length) body.lastElementChild.remove();
  wanted.forEach(([name, now, peak], index) => {
    const row = body.children[index] ?? body.appendChild(make());
    const [label, bar, up, high] = row.children;
    const link = label.firstElementChild;
    setText(link.firstElementChild, plain(name));
    link.title = t("links.calls_of", { name: plain(name) });
    aim(link, alone({ [field]: name }));
    const meter = bar.firstElementChild;
    meter.style.setProperty("--now", `${(100 * now) / most}%`);
    meter.style.setProperty("--peak", `${(100 * peak) / most}%`);
    setText(up, whole(now));
    setText(high, whole(peak));
  });
}

function make() {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.append(makeLink({}, ""));
  const bar = document.createElement("td");
  const meter = document.createElement("div");
  meter.className = "meter";
  bar.append(meter);
  row.append(name, bar, document.createElement("td"), document.createElement("td"));
  return row;
}
