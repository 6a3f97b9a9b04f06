// The connection: a native EventSource, and a supervisor for what kills one.
//
// An EventSource gives up for good on a 502, a 204, a wrong content type; some browsers also on a
// refused connection. A half-open socket says nothing at all. A wall has nobody to press reload,
// so this never gives up: it is live again within 10 s of the service.

const SILENCE_MS = 9_000; // heartbeats come every 4 s; twice none, and somebody is gone
const FIRST_WORD_MS = 5_000; // a stream says at once what it has; with the longest retry < 10 s
const LOOK_MS = 500;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 4_000;
const PROBE_MS = 5_000; // of the session, while signed out or unknown
const SESSION_MS = 4_000; // how long its answer may take

const SLEPT_MS = 2_000; // more than any busy moment

export const EVENTS = ["snapshot", "diff", "heartbeat", "kpi", "goodbye"];

export class Connection {
  // `on.event(name, data, id)` gets each event and returns false if what we hold is wrong;
  // `on.state()` is called when something here may have changed.
  // `position()` is the id to go on from. What belongs to the browser comes in as `browser`.
  constructor(url, query, position, on, browser) {
    this.url = url;
    this.query = query;
    this.position = position;
    this.on = on;
    this.browser = browser;
    this.state = "connecting"; // or live, stale, resyncing, disconnected, signed out
    this.who = null; // whose session this is, once it is known
    this.since = browser.now();
    this.staleSince = null;
    this.heardAt = browser.now();
    this.heard = false; // anything from this source
    this.reconnects = 0;
    this.goodbye = null;
    this.source = null;
    this.retryMs = FIRST_RETRY_MS;
    this.retryAt = 0;
    this.probing = false;
    this.probedAt = 0;
  }

  start() {
    this.open();
    this.probe();
    this.browser.every(LOOK_MS, () => this.look());
    this.browser.onWake(() => this.look());
  }

  // Begin anew: what we hold is wrong. With the pause of any other retry, which grows until a
  // heartbeat agrees, or a page that can never agree would ask for snapshots without end.
  resync() {
    this.later();
    this.enter("resyncing");
  }

  // Another view, or another login: at once, for somebody waits for it.
  reopen(query) {
    this.query = query;
    this.retryMs = FIRST_RETRY_MS;
    this.close();
    this.enter("connecting");
    this.open();
  }

  open() {
    const query = new URLSearchParams(this.query);
    const position = this.position();
    // A new EventSource sends no Last-Event-ID header, so the query says where we are.
    if (position) query.set("last_event_id", position);
    const text = query.toString();
    const source = this.browser.eventSource(text ? `${this.url}?${text}` : this.url);
    this.source = source;
    this.heardAt = this.browser.now();
    this.heard = false;
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        if (source === this.source) this.hear(name, event);
      });
    }
    source.addEventListener("error", () => {
      if (source === this.source) this.broken();
    });
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  hear(name, event) {
    this.heardAt = this.browser.now();
    this.heard = true;
    const data = JSON.parse(event.data);
    if (name === "goodbye") {
      this.goodbye = data.reason;
      // Renewed on the spot: that is nothing a wall needs to know of.
      if (data.reason === "rotation") this.later();
      if (data.reason === "expired" || data.reason === "revoked") this.probe();
    } else {
      this.goodbye = null;
    }
    if (!this.on.event(name, data, event.lastEventId)) this.resync();
    else if (name === "heartbeat") this.believe(data);
  }

  believe({ source, stale_since: since }) {
    this.retryMs = FIRST_RETRY_MS;
    this.staleSince = source === "live" ? null : since;
    this.enter(source === "live" ? "live" : "stale");
    if (this.who === null && this.browser.now() - this.probedAt > PROBE_MS) this.probe();
  }

  broken() {
    if (this.state !== "signed out") this.enter("disconnected");
    // Alive, it comes back by itself after the retry that the server has told it.
    if (this.source?.readyState === 2) {
      this.later(); // dead for good: a new one
      this.probe(); // unless it is the login that is over
    }
  }

  later() {
    this.close();
    this.retryAt = this.browser.now() + this.retryMs * (0.5 + this.browser.random() / 2);
    this.retryMs = Math.min(this.retryMs * 2, LAST_RETRY_MS);
  }

  // Twice a second, and when the page comes to the front or the network is back.
  look() {
    const now = this.browser.now();
    if (this.source === null) {
      if (this.state !== "signed out" && now >= this.retryAt) {
        this.reconnects += 1;
        this.open();
      }
    } else if (now - this.heardAt > (this.heard ? SILENCE_MS : FIRST_WORD_MS)) {
      this.enter("disconnected");
      this.later();
    } else if (this.source.readyState === 2) {
      this.broken();
    }
    if (this.state === "signed out" && now - this.probedAt > PROBE_MS) this.probe();
  }

  // Ask whether we are still somebody: an EventSource never tells the status it got.
  async probe() {
    if (this.probing) return;
    this.probing = true;
    this.probedAt = this.browser.now();
    try {
      const { status, who } = await this.browser.session();
      if (status === 401 || status === 403) {
        this.close();
        this.enter("signed out");
      } else if (status === 200) {
        this.who = who;
        const back = this.state === "signed out";
        this.enter(back ? "connecting" : this.state);
        if (back) this.open();
      }
    } catch {
      // not reachable: that is what `disconnected` says already
    } finally {
      this.probing = false;
    }
  }

  enter(state) {
    if (state !== this.state) {
      this.state = state;
      this.since = this.browser.now();
    }
    this.on.state();
  }
}

// The time that has passed, also while the computer slept, which performance.now() leaves out. A
// wall clock that is set forward looks the same: one reconnect more than was needed. Set backward,
// it changes nothing.
function passing() {
  let slept = 0;
  let then = performance.now() - Date.now();
  return () => {
    const now = performance.now() - Date.now();
    if (then - now > SLEPT_MS) slept += then - now;
    then = now;
    return performance.now() + slept;
  };
}

// The real browser; `main.js` says where streams come from.
export const browser = {
  now: passing(),
  random: () => Math.random(),
  every: (ms, look) => setInterval(look, ms),
  onWake(look) {
    document.addEventListener("visibilitychange", look);
    for (const name of ["online", "pageshow", "focus"]) addEventListener(name, look);
  },
  async session() {
    const answer = await fetch("/api/v1/session", {
      cache: "no-store",
      signal: AbortSignal.timeout(SESSION_MS),
    });
    return { status: answer.status, who: answer.ok ? await answer.json() : null };
  },
};
