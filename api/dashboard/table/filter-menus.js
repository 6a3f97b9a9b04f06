// A menu for each field to filter by, and a chip for each chosen value that removes it.

import { STATES } from "./filters.js";
import { KINDS } from "./anomalies.js";
import { t } from "../text/catalogue.js";
import { length, plain } from "../text/text.js";

const MENUS = ["state", "company_id", "trunk", "direction", "node"];
const DURATIONS = [30, 60, 300, 900, 1800, 3600];
const MAX_CHOICES = 200;

export class FilterMenus {
  // `changed()` is called after `filters` were changed here.
  constructor(box, chips, filters, changed) {
    this.chips = chips;
    this.filters = filters;
    this.changed = changed;
    this.menus = new Map();
    for (const field of [...MENUS, "longer"]) {
      const menu = document.createElement("select");
      menu.setAttribute("aria-label", t(`filter.by_${field}`));
      menu.append(option("", t(`filter.${field}`)));
      menu.addEventListener("change", () => this.choose(field, menu));
      this.menus.set(field, menu);
    }
    for (const value of DURATIONS) {
      this.menus.get("longer").append(option(String(value), length(value * 1000)));
    }
    box.replaceChildren(...this.menus.values());
    this.draw();
  }

  hide(field, hidden) {
    this.menus.get(field).hidden = hidden;
  }

  choose(field, menu) {
    const { value } = menu;
    menu.value = "";
    if (field === "longer") this.filters.longer = Number(value);
    else this.filters.add(field, value);
    this.draw();
    this.changed();
  }

  // Fill the menus with the values of the live calls. A menu that is open stays as it is, unless
  // `whileChoosing`.
  offer(calls, whileChoosing = false) {
    const found = { company_id: new Set(), trunk: new Set(), direction: new Set(), node: new Set() };
    for (const record of calls) {
      for (const field of Object.keys(found)) {
        if (record[field] !== undefined) found[field].add(record[field]);
      }
    }
    found.state = new Set(Object.keys(STATES));
    for (const [field, values] of Object.entries(found)) {
      const menu = this.menus.get(field);
      if (menu === document.activeElement && !whileChoosing) continue;
      const wanted = [...values].slice(0, MAX_CHOICES);
      if (field !== "state") wanted.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
      const now = [...menu.options].slice(1).map(({ value }) => value);
      if (now.join("\n") === wanted.join("\n")) continue;
      menu.replaceChildren(menu.options[0], ...wanted.map(
        (value) => option(value, field === "state" ? STATES[value] : plain(value)),
      ));
    }
  }

  draw() {
    const chips = [];
    for (const [field, values] of this.filters.values) {
      for (const value of values) {
        const shown = field === "state" ? STATES[value] : plain(value);
        chips.push(this.chip(t("filter.chip", {
          field: t(`filter.${field}`), value: shown,
        }), () => values.delete(value)));
      }
    }
    if (this.filters.longer) {
      const shown = t("filter.chip_longer", { time: length(this.filters.longer * 1000) });
      chips.push(this.chip(shown, () => { this.filters.longer = 0; }));
    }
    if (this.filters.why) {
      const shown = t("filter.chip_why", { what: KINDS[this.filters.why](this.filters.limits) });
      chips.push(this.chip(shown, () => { this.filters.why = ""; }));
    }
    this.chips.replaceChildren(...chips);
  }

  chip(text, remove) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = text; // its sign: signs.css
    chip.setAttribute("aria-label", t("filter.remove", { filter: text }));
    chip.addEventListener("click", () => {
      remove();
      this.draw();
      this.changed();
    });
    return chip;
  }
}

function option(value, text) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = text;
  return made;
}
