// The help of the search box: its syntax by examples. A click on one adds it to the search.

import { placeBelow } from "../elements.js";
import { t } from "../text/catalogue.js";

const EXAMPLES = [
  ["acme", "text"], ['"mario rossi"', "phrase"], ["+39 02", "prefix"], ["347", "part"],
  ["from:+39", "party"], ["code:486", "code"], ["trunk:gw-*", "trunk"], ["-state:answered", "state"],
  ["company:acme,beta", "company"], ["node:kam-mil-1", "node"], ["direction:inbound", "direction"],
  [">5m", "longer"], ["<30s", "shorter"], ["mos:<3.6", "quality"], ["id:a84b4c76", "id"],
];

export class SearchHelp {
  // `input`: the search box. The button that opens the help stands behind it.
  constructor(input) {
    this.input = input;
    this.box = document.createElement("div");
    this.box.id = "search-help";
    this.box.role = "dialog";
    this.box.ariaLabel = t("search.help");
    this.box.popover = "auto"; // the browser closes it by Escape, and by a click beside it
    const about = document.createElement("p");
    about.textContent = t("search.help_about");
    const list = document.createElement("dl");
    list.append(...EXAMPLES.flatMap((one) => this.describe(...one)));
    this.box.append(about, list);
    const button = document.createElement("button");
    button.type = "button";
    button.id = "show-search-help";
    button.textContent = "?";
    button.title = t("search.help");
    button.setAttribute("aria-label", t("search.help"));
    button.popoverTargetElement = this.box;
    input.after(button);
    document.body.append(this.box);
    this.box.addEventListener("beforetoggle", ({ newState }) => {
      if (newState !== "open") return;
      const place = input.getBoundingClientRect();
      this.box.style.left = `${Math.max(0, Math.round(place.left))}px`;
      placeBelow(this.box, place);
    });
  }

  describe(example, name) {
    const term = document.createElement("dt");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = example;
    button.addEventListener("click", () => this.add(example));
    term.append(button);
    const text = document.createElement("dd");
    text.textContent = t(`search.${name}`);
    return [term, text];
  }

  add(example) {
    const { input } = this;
    input.value = `${input.value} ${example}`.trim();
    input.dispatchEvent(new Event("input"));
    this.box.hidePopover();
    input.focus();
    input.setSelectionRange(input.value.length - example.length, input.value.length);
  }
}
