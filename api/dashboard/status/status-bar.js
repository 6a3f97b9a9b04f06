// The status bar: whether the calls on the page are live, and if not, why and since when.

import { byId, setText } from "../elements.js";
import { alone, makeLink } from "../links.js";
import { t } from "../text/catalogue.js";
import { counted, length, plain, timeOfDay, whole } from "../text/text.js";
import { reloads } from "./obstacles.js";
import { reason, remedy, wordText } from "./texts.js";

const JUST_NOW_MS = 2_000; // age of data up to which no number is worth reading

export class StatusBar {
  constructor(liveCalls, pause) {
    this.liveCalls = liveCalls;
    this.pause = pause; // the table may stand still while the stream goes on
  }

  // The state as one word of English, which exports name too. While another view or a new snapshot is on its way, the old calls are
  // still there: "catching up". A paused table is never "live".
  get word() {
    const { state } = this.liveCalls.connection;
    const loading = ["connecting", "resyncing"].includes(state);
    const word = loading && this.liveCalls.receivedAt > 0 ? "catching up" : state;
    if (!this.pause.on || state === "signed out") return word;
    return state === "live" ? "paused" : `paused, ${word}`;
  }

  show() {
    const { connection, receivedAt } = this.liveCalls;
    const { state } = connection;
    const live = state === "live";
    const paused = this.pause.on && live;
    const status = paused ? "paused" : state.replace(" ", "-");
    if (document.body.dataset.status !== status) document.body.dataset.status = status;
    const known = (!live || paused) && state !== "signed out" && receivedAt > 0;
    setText(byId("status-word"), wordText(this.word));
    this.showReason(reason(connection, this.liveCalls.fold.calls));
    setText(byId("status-age"), known ? this.ageText() : "");
    setText(byId("status-remedy"), paused
      ? counted("status.paused_remedy", this.pause.changes) : remedy(connection));
    setText(byId("data-age"), live ? updated(this.liveCalls.age()) : "");
    byId("login").hidden = state !== "signed out";
    byId("reload").hidden = !reloads(connection.obstacle);
  }

  // A node's name leads to its calls. The parts are written in place while only numbers change, so that
  // a link keeps its focus and a click.
  showReason(parts) {
    const element = byId("status-reason");
    const shape = JSON.stringify(parts.map((part) => (typeof part === "string" ? "" : part)));
    if (element.dataset.shape !== shape) {
      element.dataset.shape = shape;
      element.replaceChildren(...parts.map((part) => (typeof part === "string" ? new Text(part)
        : makeLink(alone(part), part.node, t("links.calls_of", { name: plain(part.node) })))));
    }
    parts.forEach((part, at) => {
      if (typeof part === "string") setText(element.childNodes[at], part);
    });
  }

  ageText() {
    const now = this.liveCalls.serverTime();
    const then = this.pause.since ?? this.liveCalls.callTime();
    return t("status.calls_as_of", { time: timeOfDay(then, now), age: length(now - then) });
  }
}

function updated(age) {
  return age < JUST_NOW_MS ? t("status.updated_now")
    : t("status.updated", { seconds: whole(Math.floor(age / 1000)) });
}
