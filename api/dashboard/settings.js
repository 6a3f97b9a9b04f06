// The dialog of what this browser's people may choose.

import { COLUMNS } from "./columns.js";
import { TILES } from "./tiles.js";
import { THRESHOLDS, side } from "./thresholds.js";

const UNITS = { asr: "%", ner: "%", acd_seconds: "s", pdd_p95_ms: "ms", longest: "s" };
const SWITCHES = ["mask", "oddFirst", "sound"];
const CHOICES = ["theme", "density"];
const at = (id) => document.getElementById(id);

// `chosen` is changed in place; `changed()` is called after each change.
export function settings(dialog, chosen, changed) {
  for (const name of Object.keys(COLUMNS)) at("set-columns").append(column(name));
  for (const name of Object.keys(THRESHOLDS)) at("set-thresholds").append(thresholds(name));
  for (const name of SWITCHES) {
    listen(`set-${name}`, "checked", chosen[name], (on) => { chosen[name] = on; });
  }
  for (const name of CHOICES) {
    listen(`set-${name}`, "value", chosen[name], (value) => { chosen[name] = value; });
  }
  for (const name of ["ringing", "talking"]) {
    listen(`set-${name}`, "value", chosen.limits[name], (value) => {
      if (Number(value) > 0) chosen.limits[name] = Number(value);
    });
  }

  function listen(id, property, value, take) {
    at(id)[property] = value;
    at(id).addEventListener("change", () => {
      take(at(id)[property]);
      changed();
    });
  }

  function column(name) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = chosen.columns.includes(name);
    box.dataset.column = name;
    box.addEventListener("change", () => {
      const wanted = new Set(chosen.columns);
      if (box.checked) wanted.add(name);
      else wanted.delete(name);
      if (wanted.size === 0) box.checked = true; // a table of nothing helps nobody
      else chosen.columns = Object.keys(COLUMNS).filter((one) => wanted.has(one));
      changed();
    });
    return labelled(box, COLUMNS[name].title);
  }

  function thresholds(name) {
    const row = document.createElement("div");
    row.className = "threshold";
    const { title } = TILES[name];
    row.append(Object.assign(document.createElement("span"), {
      textContent: `${title}, ${side(name)}`,
    }));
    ["warning", "alarm"].forEach((level, index) => {
      const field = document.createElement("input");
      field.type = "number";
      field.min = "0";
      field.step = "any";
      field.dataset.threshold = `${name}-${level}`;
      field.value = chosen.thresholds[name][index] ?? "";
      field.setAttribute("aria-label", `${title}: ${level} ${side(name)}`);
      field.addEventListener("change", () => {
        const limits = [...chosen.thresholds[name]];
        limits[index] = field.value === "" ? null : Number(field.value);
        chosen.thresholds[name] = limits;
        changed();
      });
      row.append(field);
    });
    row.append(Object.assign(document.createElement("span"), { textContent: UNITS[name] ?? "" }));
    return row;
  }
}

function labelled(box, text) {
  const label = document.createElement("label");
  label.append(box, ` ${text}`);
  return label;
}
