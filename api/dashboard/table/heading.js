// The table's heading: a button for each column, which sorts by it. A column is moved by dragging its
// title, and made wider or narrower by dragging its right edge; a double click there makes the width
// automatic again. The settings dialog does the same without dragging.

import { t } from "../text/catalogue.js";
import { COLUMNS } from "./columns.js";

const DRAG_PX = 5; // a pointer that moves less clicks

export class Heading {
  // `sort(column, up)` is called at a click on a heading, `move(column, other)` when a column is
  // dropped on another, `resize(column, rem, done)` while its edge is dragged and when it is let go;
  // `rem` is null for the automatic width.
  constructor(row, { sort, move, resize }) {
    Object.assign(this, { row, sort, move, resize });
    this.names = [];
    this.sorted = {};
    this.dragged = false; // the click that follows a drag is none
  }

  setColumns(names) {
    this.names = names;
    this.row.replaceChildren(...names.map((name) => this.title(name)));
    this.label(this.sorted);
  }

  label(sorted) {
    this.sorted = sorted;
    this.names.forEach((name, at) => {
      const order = name !== sorted.column ? "none" : sorted.up ? "ascending" : "descending";
      this.row.children[at].setAttribute("aria-sort", order);
    });
  }

  title(name) {
    const cell = document.createElement("th");
    cell.setAttribute("role", "columnheader");
    cell.className = COLUMNS[name].number ? `${name} number` : name;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = COLUMNS[name].title;
    button.addEventListener("click", ({ detail }) => {
      if (detail > 0 && this.dragged) return; // 0: by keyboard
      const { column, up } = this.sorted;
      this.sort(name, name === column ? !up : true);
    });
    cell.append(button, this.edge(name, cell));
    this.letDrag(name, cell, button);
    return cell;
  }

  // By pointer events, because HTML's own drag and drop does not begin on a button in Firefox
  // (Mozilla bug 568313). A finger scrolls the table instead.
  letDrag(name, cell, button) {
    button.addEventListener("pointerdown", (down) => {
      this.dragged = false;
      if (down.button !== 0 || down.pointerType === "touch") return;
      button.setPointerCapture(down.pointerId);
      const listening = new AbortController();
      let target = null; // the title that it would be dropped on
      const aim = (other) => {
        target?.classList.remove("target");
        target = other === cell ? null : other;
        target?.classList.add("target");
      };
      const listen = (kind, act) => button.addEventListener(kind, act, { signal: listening.signal });
      listen("pointermove", ({ clientX, clientY }) => {
        this.dragged ||= Math.abs(clientX - down.clientX) >= DRAG_PX;
        if (!this.dragged) return;
        const found = document.elementFromPoint(clientX, clientY)?.closest("th") ?? null;
        aim(this.row.contains(found) ? found : null);
      });
      listen("pointerup", () => {
        const other = this.names[[...this.row.children].indexOf(target)];
        if (other !== undefined) this.move(name, other);
      });
      listen("lostpointercapture", () => { // also after pointerup, or if the browser ends it
        aim(null);
        listening.abort();
      });
    });
  }

  edge(name, cell) {
    const edge = document.createElement("span");
    edge.className = "edge";
    edge.title = t("columns.edge");
    edge.setAttribute("aria-hidden", "true");
    edge.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      edge.setPointerCapture(event.pointerId);
      const { width } = cell.getBoundingClientRect();
      const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
      const from = event.clientX;
      let wanted = null;
      const moved = ({ clientX }) => {
        wanted = (width + clientX - from) / rem;
        this.resize(name, wanted, false);
      };
      edge.addEventListener("pointermove", moved);
      edge.addEventListener("lostpointercapture", () => {
        edge.removeEventListener("pointermove", moved);
        if (wanted !== null) this.resize(name, wanted, true);
      }, { once: true });
    });
    edge.addEventListener("dblclick", () => this.resize(name, null, true));
    return edge;
  }
}
