// The columns in the settings dialog: which, in which order, how wide. All that dragging in the table's
// heading does can be done here by keyboard.

import { byId } from "../elements.js";
import { COLUMNS } from "../table/columns.js";
import { t } from "../text/catalogue.js";

export class ColumnSettings {
  constructor(choice) {
    this.choice = choice;
    this.list = document.createElement("ul");
    this.list.id = "column-list";
    const reset = button("reset-columns", t("columns.reset"), () => choice.reset());
    byId("set-columns").append(this.list, reset);
    this.draw();
  }

  // After a change here or in the heading. The focus stays on the same control.
  draw() {
    const { choice } = this;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.id : "";
    const hidden = Object.keys(COLUMNS).filter((name) => !choice.names.includes(name));
    this.list.replaceChildren(...[...choice.names, ...hidden].map((name) => this.row(name)));
    if (focused !== "") byId(focused)?.focus();
  }

  row(name) {
    const { choice } = this;
    const { title } = COLUMNS[name];
    const shown = choice.names.includes(name);
    const box = document.createElement("input");
    box.type = "checkbox";
    box.id = `column-${name}`;
    box.checked = shown;
    box.dataset.column = name;
    box.addEventListener("change", () => {
      choice.show(name, box.checked);
      this.draw(); // the last column stays
    });
    const label = document.createElement("label");
    label.append(box, ` ${title}`);
    const item = document.createElement("li");
    const width = document.createElement("input");
    width.type = "number";
    width.id = `width-${name}`;
    width.min = "3";
    width.max = "60";
    width.step = "0.5";
    width.placeholder = t("columns.automatic");
    width.value = choice.preferences.widths[name] ?? "";
    width.setAttribute("aria-label", t("columns.width", { column: title }));
    width.addEventListener("change", () => choice.resize(name, width.value === "" ? null : Number(width.value)));
    const at = choice.names.indexOf(name);
    const up = button(`up-${name}`, "←", () => choice.move(name, -1), t("columns.left", { column: title }));
    const down = button(`down-${name}`, "→", () => choice.move(name, 1), t("columns.right", { column: title }));
    up.setAttribute("aria-disabled", String(at <= 0));
    down.setAttribute("aria-disabled", String(at < 0 || at === choice.names.length - 1));
    item.append(label, up, down, width);
    return item;
  }
}

function button(id, text, act, label = text) {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", id, textContent: text, title: label });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}
