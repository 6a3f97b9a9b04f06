// The filter bar: the search field, the menus with their chips, and the button that clears all.

import { byId } from "../elements.js";
import { FilterMenus } from "./filter-menus.js";

const SEARCH_MS = 120; // after the last letter typed

export class FilterBar {
  // `changed()` is called after `filters` were changed here.
  constructor(filters, changed) {
    this.filters = filters;
    this.search = byId("filter");
    this.search.value = filters.text;
    this.menus = new FilterMenus(byId("chips"), byId("filters"), filters, changed);
    this.timer = null;
    this.search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        filters.search(this.search.value);
        changed();
      }, SEARCH_MS);
    });
    byId("clear").addEventListener("click", () => {
      this.clear();
      changed();
    });
  }

  clear() {
    clearTimeout(this.timer);
    this.filters.clear();
    this.search.value = "";
    this.menus.draw();
  }
}
