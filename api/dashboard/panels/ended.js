// Calls that ended in the last five minutes, the latest first, with what ended them.

import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { counted, length, masked, plain, timeOfDay, whole } from "../text/text.js";
import { makeLink } from "../links.js";
import { make, tableWith } from "./dom.js";
import { isFault, name as nameOf, phrase } from "./responses.js";

export class Ended {
  // `mask()`: whether numbers are hidden; `open(key)`: show a call; `code()`: the response that is
  // filtered for, or null; `showAll()`: filter for it no more.
  constructor({ mask, open, code, showAll }) {
    Object.assign(this, { mask, code });
    this.table = tableWith(t("panels.ended"), [
      t("ended.at"), t("ended.outcome"), t("ended.from"), t("ended.to"), t("ended.company"),
      t("ended.trunk"), t("ended.talked"),
    ]);
    this.table.className = "ended";
    this.summary = make("span");
    this.all = make("button", { type: "button", className: "chip", hidden: true });
    this.all.addEventListener("click", showAll);
    this.element = make("div", {}, make("p", {}, this.summary, " ", this.all), this.table);
    this.table.tBodies[0].addEventListener("click", (event) => {
      const { key } = event.target.closest("button")?.dataset ?? {};
      if (key !== undefined) open(key);
    });
    this.shown = "";
  }

  forget() {
    this.shown = "";
    this.table.tBodies[0].replaceChildren();
    setText(this.summary, "");
  }

  draw({ calls, total }) {
    const code = this.code();
    this.all.hidden = code === null;
    if (code !== null) setText(this.all, t("ended.only", { code: nameOf(code) }));
    setText(this.summary, total === 0 ? t("ended.none")
      : total === calls.length ? counted("ended.all", total)
        : t("ended.some", { total: whole(total), shown: whole(calls.length) }));
    this.table.hidden = calls.length === 0;
    const body = this.table.tBodies[0];
    // Under the pointer or the focus no row moves.
    const busy = body.matches(":hover") || body.contains(document.activeElement);
    const next = JSON.stringify([this.mask(), calls, calls.map((call) => timeOfDay(call.ended_at))]);
    if (next === this.shown || (busy && this.shown !== "")) return;
    this.shown = next;
    body.replaceChildren(...calls.map((call) => row(call, this.mask())));
  }
}

// The company or the trunk, as a link to its ended calls.
function linked(field, call) {
  const name = call[field];
  return make("td", {}, name === undefined ? "–" : makeLink({ panel: "ended", [field]: name }, name));
}

function row(call, mask) {
  const answered = call.answered_at !== undefined;
  const number = (text) => (text === undefined ? "–" : plain(mask ? masked(text) : text));
  const outcome = call.reason === "answered" ? t("ended.answered")
    : `${nameOf(call.reason)} ${phrase(call.reason)}`;
  const cell = (textContent) => make("td", {}, make("bdi", { textContent }));
  const button = make("button", { type: "button", className: "link", textContent: timeOfDay(call.ended_at),
    title: t("ended.open") });
  button.dataset.key = call.key;
  const element = make("tr", {},
    make("th", { scope: "row" }, button),
    make("td", { className: "outcome", textContent: plain(outcome), title: plain(call.sip_reason ?? "") }),
    cell(number(call.from)), cell(number(call.to)), linked("company_id", call), linked("trunk", call),
    make("td", { className: "number", textContent: answered ? length(call.ended_at - call.answered_at) : "–" }));
  element.dataset.kind = answered || call.reason === "answered" ? "answered" : isFault(call.reason) ? "fault" : "people";
  return element;
}
