// Who is busy: concurrency of companies and trunks, beside the peak of the day.

import { whole } from "./text.js";

const MOST = 8;

// `rows`: [name, now, peak, …]; a table's body is filled with the first of them.
export function fill(body, rows) {
  const most = Math.max(1, ...rows.map(([, , peak]) => peak));
  const wanted = rows.slice(0, MOST);
  while (body.children.length > wanted.length) body.lastElementChild.remove();
  wanted.forEach(([name, now, peak], index) => {
    const row = body.children[index] ?? body.appendChild(make());
    const [label, bar, up, high] = row.children;
    set(label, name);
    label.title = name;
    const meter = bar.firstElementChild;
    meter.style.setProperty("--now", `${(100 * now) / most}%`);
    meter.style.setProperty("--peak", `${(100 * peak) / most}%`);
    set(up, whole(now));
    set(high, whole(peak));
  });
}

function make() {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  const bar = document.createElement("td");
  const meter = document.createElement("div");
  meter.className = "meter";
  bar.append(meter);
  row.append(name, bar, document.createElement("td"), document.createElement("td"));
  return row;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
