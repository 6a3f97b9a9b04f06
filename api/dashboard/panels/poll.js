// Asks the service for a panel's document again and again, while the panel is open and the tab is
// visible. The document says when to ask next.

import { wantsLanguage } from "../text/catalogue.js";

const TIMEOUT_MS = 10_000;
const RETRY_SECONDS = 5;
const REFUSED_SECONDS = 30; // without a login, or without the right
const JITTER = 0.2; // pages that were opened together do not ask together

export class Poll {
  // `url()`: what to ask for. `show(document)`: a new document; `fail(reason)`: why there is none,
  // as the service says it, or null where it does not answer.
  constructor({ url, show, fail }) {
    Object.assign(this, { url, show, fail });
    this.timer = null;
    this.round = 0; // an answer of an earlier round is out of date
    this.open = false;
    document.addEventListener("visibilitychange", () => {
      if (this.open && !document.hidden) this.ask();
    });
  }

  start() {
    this.open = true;
    this.ask();
  }

  stop() {
    this.open = false;
    this.round += 1;
    clearTimeout(this.timer);
  }

  async ask() {
    clearTimeout(this.timer);
    this.round += 1;
    const { round } = this;
    let seconds = RETRY_SECONDS;
    try {
      const response = await fetch(this.url(), {
        cache: "no-store", headers: wantsLanguage(), signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const json = response.headers.get("Content-Type")?.includes("json") ?? false;
      const answer = json ? await response.json() : null;
      if (round !== this.round) return;
      if (response.ok && answer !== null) {
        seconds = answer.next_seconds ?? seconds;
        this.show(answer);
      } else {
        if ([401, 403].includes(response.status)) seconds = REFUSED_SECONDS;
        this.fail(answer?.detail ?? null);
      }
    } catch {
      if (round !== this.round) return;
      this.fail(null);
    }
    if (document.hidden) return; // asks when the tab is shown again
    this.timer = setTimeout(() => this.ask(), seconds * 1000 * (1 + JITTER * Math.random()));
  }
}
