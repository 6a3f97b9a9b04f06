// The table's heading: a button for each column, which sorts by it.

import { COLUMNS } from "./columns.js";

export class Heading {
  // `sort(column, up)` is called at a click on a heading.
  constructor(row, sort) {
    this.row = row;
    this.sort = sort;
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
    cell.append(button);
    return cell;
  }
}
