// The menu of named views: links to them, and what keeps, renames and deletes them.

import { placeBelow } from "../elements.js";
import { t } from "../text/catalogue.js";
import { plain } from "../text/text.js";
import * as views from "./views.js";

const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

export class ViewMenu {
  // `before`: the element that the button of the menu stands before. `search()`: the address of the
  // present view, with everything that a link to it must say.
  constructor(before, search) {
    this.search = search;
    this.box = make("div", { id: "views", popover: "auto", role: "dialog", ariaLabel: t("views.button") });
    this.button = make("button", { type: "button", id: "show-views", textContent: t("views.button") });
    this.button.popoverTargetElement = this.box;
    before.before(this.button);
    document.body.append(this.box);
    this.list = make("ul", {});
    this.note = make("p", { className: "note" });
    this.note.setAttribute("role", "status");
    this.name = make("input", { maxLength: 60, required: true, autocomplete: "off", id: "view-name" });
    this.submit = make("button", { textContent: t("views.save") });
    const copy = make("button", { type: "button", textContent: t("views.copy"), id: "copy-view" });
    copy.addEventListener("click", () => this.copy());
    this.form = make("form", {}, make("label", { htmlFor: "view-name", textContent: t("views.name") }),
      this.name, this.submit);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.say(views.save(this.name.value, this.search()), "views.saved");
    });
    this.name.addEventListener("input", () => this.label());
    this.box.append(this.list, this.form, make("p", {}, copy), this.note);
    this.box.addEventListener("beforetoggle", ({ newState }) => {
      if (newState === "open") this.open();
    });
    this.box.addEventListener("click", (event) => {
      if (event.target.closest("a[data-named]")) this.box.hidePopover();
    });
  }

  open() {
    const place = this.button.getBoundingClientRect();
    const right = document.documentElement.clientWidth - place.right;
    this.box.style.right = `${Math.max(0, Math.round(right))}px`;
    placeBelow(this.box, place);
    this.note.textContent = "";
    this.draw();
  }

  // Keep nothing of a login in the document.
  forget() {
    if (this.box.matches(":popover-open")) this.box.hidePopover();
    this.list.replaceChildren();
    this.name.value = "";
    this.note.textContent = "";
  }

  say(done, key) {
    this.note.textContent = t(done ? key : "views.failed");
    if (done) this.name.value = "";
    this.draw();
  }

  label() {
    const known = views.list().some(({ name }) => name === this.name.value.trim());
    this.submit.textContent = t(known ? "views.replace" : "views.save");
  }

  draw() {
    const here = views.viewOf(this.search());
    const all = views.list();
    this.list.replaceChildren(...all.map((view) => this.row(view, view.address === here)));
    if (all.length === 0) this.list.append(make("li", { className: "none", textContent: t("views.none") }));
    this.label();
  }

  row({ name, address }, current) {
    const link = make("a", { href: address || location.pathname }, make("bdi", { textContent: plain(name) }));
    link.dataset.named = "";
    if (current) link.setAttribute("aria-current", "true");
    const edit = make("button", { type: "button", textContent: t("views.rename") });
    edit.setAttribute("aria-label", t("views.rename_one", { name: plain(name) }));
    const drop = make("button", { type: "button", textContent: t("views.delete") });
    drop.setAttribute("aria-label", t("views.delete_one", { name: plain(name) }));
    const item = make("li", {}, link, edit, drop);
    edit.addEventListener("click", () => this.rename(item, name));
    drop.addEventListener("click", () => {
      if (drop.dataset.sure === undefined) { // the second click deletes
        drop.dataset.sure = "";
        drop.textContent = t("views.sure");
        drop.setAttribute("aria-label", t("views.sure_one", { name: plain(name) }));
      } else this.say(views.remove(name), "views.deleted");
    });
    return item;
  }

  rename(item, name) {
    const field = make("input", { value: name, maxLength: 60, required: true });
    field.setAttribute("aria-label", t("views.new_name", { name: plain(name) }));
    const form = make("form", {}, field, make("button", { textContent: t("views.save") }));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.say(views.rename(name, field.value), "views.renamed");
    });
    item.replaceChildren(form);
    field.select();
  }

  async copy() {
    const address = `${location.origin}${location.pathname}${views.viewOf(this.search())}`;
    try {
      await navigator.clipboard.writeText(address);
      this.note.textContent = t("call.copied");
    } catch {
      this.note.textContent = address;
      getSelection().selectAllChildren(this.note);
    }
  }
}
