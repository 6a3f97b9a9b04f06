// The table's heading: a button for each column, which sorts by it. A column is moved by dragging its
// title, and made wider or narrower by dragging its right edge; a double click there makes the width
// automatic again. The settings dialog does the same without dragging.

import { t } from "../text/catalogue.js";
import { COLUMNS } from "./columns.js";

const KIND = "text/x-livestate-column"; // of what is dragged

export class Heading {
  // `sort(column, up)` is called at a click on a heading, `move(column, other)` when a column is
  // dropped on another, `resize(column, rem, done)` while its edge is dragged and when it is let go;
  // `rem` is null for the automatic width.
  constructor(row, { sort, move, resize }) {
    Object.assign(this, { row, sort, move, resize });
    this.names = [];
    this.sorted = {};
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
    button.addEventListener("click", () => {
      const { column, up } = this.sorted;
      this.sort(name, name === column ? !up : true);
    });
    cell.append(button, this.edge(name, cell));
    this.letDrag(name, cell);
    return cell;
  }

  letDrag(name, cell) {
    cell.draggable = true;
    cell.addEventListener("dragstart", ({ dataTransfer }) => {
      dataTransfer.setData(KIND, name);
      dataTransfer.effectAllowed = "move";
    });
    cell.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes(KIND)) return;
      event.preventDefault(); // it may be dropped here
      cell.classList.add("target");
    });
    cell.addEventListener("dragleave", () => cell.classList.remove("target"));
    cell.addEventListener("drop", (event) => {
      event.preventDefault();
      cell.classList.remove("target");
      const dragged = event.dataTransfer.getData(KIND);
      if (this.names.includes(dragged)) this.move(dragged, name);
    });
  }

  edge(name, cell) {
    const edge = document.createElement("span");
    edge.className = "edge";
    edge.title = t("columns.edge");
    edge.setAttribute("aria-hidden", "true");
    edge.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      cell.draggable = false;
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
        cell.draggable = true;
        if (wanted !== null) this.resize(name, wanted, true);
      }, { once: true });
    });
    edge.addEventListener("dblclick", () => this.resize(name, null, true));
    return edge;
  }
}
