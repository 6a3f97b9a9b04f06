// The status bar: whether the calls on the page are live, and if not, why and since when.

import { byId, setText } from "../elements.js";
import { length, timeOfDay } from "../text/text.js";
import { reloads } from "./obstacles.js";
import { reason, remedy } from "./texts.js";

export class StatusBar {
  constructor(liveCalls, callTime) {
    this.liveCalls = liveCalls;
    this.callTime = callTime; // of the table, which may be paused
  }

  // The state as one word. While another view or a new snapshot is on its way, the old calls are
  // still there: "catching up".
  get word() {
    const { state } = this.liveCalls.connection;
    const loading = ["connecting", "resyncing"].includes(state);
    return loading && this.liveCalls.receivedAt > 0 ? "catching up" : state;
  }

  show() {
    const { connection, receivedAt } = this.liveCalls;
    const { state } = connection;
    const live = state === "live";
    const status = state.replace(" ", "-");
    if (document.body.dataset.status !== status) document.body.dataset.status = status;
    const known = !live && state !== "signed out" && receivedAt > 0;
    setText(byId("status-word"), this.word);
    setText(byId("status-reason"), reason(connection));
    setText(byId("status-age"), known ? this.ageText() : "");
    setText(byId("status-remedy"), remedy(connection));
    setText(byId("data-age"), live ? `data ${length(this.liveCalls.age())} old` : "");
    byId("login").hidden = state !== "signed out";
    byId("reload").hidden = !reloads(connection.obstacle);
  }

  ageText() {
    const then = this.callTime();
    const ago = length(this.liveCalls.serverTime() - then);
    return `Calls below are as they were at ${timeOfDay(then)}, ${ago} ago.`;
  }
}
