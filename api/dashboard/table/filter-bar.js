// The filter bar: the search field, the menus with their chips, and the button that clears all.

import { byId } from "../elements.js";
import { FilterMenus } from "./filter-menus.js";
import { SearchHelp } from "./search-help.js";

const SEARCH_MS = 120; // after the last letter typed

export class FilterBar {
  // `changed()` is called after `filters` were changed here.
  constructor(filters, changed) {
    this.filters = filters;
    this.search = byId("filter");
    this.search.value = filters.text;
    this.search.setAttribute("aria-describedby", "ignored"); // which terms are not applied
    this.help = new SearchHelp(this.search);
    this.menus = new FilterMenus(byId("chips"), byId("filters"), filters, changed);
    this.timer = null;
    this.mark();
    this.search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        filters.search(this.search.value);
        this.mark();
        changed();
      }, SEARCH_MS);
    });
    byId("clear").addEventListener("click", () => {
      this.clear();
      changed();
    });
  }

  clear() {
    this.filters.clear();
    this.draw();
  }

  // The filters are others now.
  draw() {
    clearTimeout(this.timer);
    this.search.value = this.filters.text;
    this.mark();
    this.menus.draw();
  }

  // A search that is not applied as it stands; the line above the box says which terms.
  mark() {
    this.search.setAttribute("aria-invalid", String(this.filters.terms.errors.length > 0));
  }
}
