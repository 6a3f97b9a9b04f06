// The connection: a native EventSource, and a supervisor for what kills one.
//
// An EventSource gives up for good on a 502, a 204, a wrong content type; some browsers also on a
// refused connection. A half-open socket says nothing at all. No person presses reload on a wall,
// so this never gives up: it is live again within 10 s of the service.

import { browser } from "./platform.js";

/** @typedef {import("./contract.js").ConnectionState} ConnectionState */
/** @typedef {import("./contract.js").GoodbyeReason} GoodbyeReason */
/** @typedef {import("./contract.js").StaleReason} StaleReason */
/** @typedef {import("./platform.js").Platform} Platform */
/** @typedef {import("./platform.js").EventSourceLike} EventSourceLike */
/**
 * What is wrong with one node, for roles that see all calls.
 * @typedef {{ node: string, what: StaleReason | "clock", ahead_ms?: number }} NodeTrouble
 */

const SILENCE_MS = 9_000; // heartbeats come every 4 s; two missing: the other side is gone
const FIRST_WORD_MS = 5_000; // a stream says at once what it has; with the longest retry < 10 s
const LOOK_MS = 500;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 4_000;
const PROBE_MS = 5_000; // of the session, while signed out or unknown
const HELD_MS = 10_000; // without an event, though requests are answered
const HANDOVER_MS = 1_000; // see `drainedAt`
const SENDING_S = 2; // of a stream that something should have come from

export const EVENTS = ["snapshot", "diff", "heartbeat", "kpi", "goodbye"];

export class Connection {
  /**
   * @param {string} url of the stream
   * @param {string[][]} query the filters that the service applies, as [name, value] pairs
   * @param {() => string} position the id to resume from
   * @param {{ event: (name: string, data: any, id: string) => boolean, state: () => void }} on
   *   `event` gets each event and returns false if the calls held here are wrong; `state` is
   *   called when something here may have changed
   * @param {Platform} [platform]
   */
  constructor(url, query, position, on, platform = browser) {
    this.url = url;
    this.query = query;
    this.position = position;
    this.on = on;
    this.browser = platform;
    /** @type {ConnectionState} */
    this.state = "connecting";
    /** The service keeps one stream of a reader: a proxy may not hang up the older ones. */
    this.reader = randomName();
    /** @type {import("./obstacle.js").Obstacle | null} what is between us and the service */
    this.obstacle = null;
    /** @type {number | null} since when streams were opened and no event came */
    this.silentSince = null;
    /** @type {any} whose session this is, once it is known */
    this.who = null;
    this.since = platform.now();
    /** @type {number | null} ms since the Unix epoch, by the service's clock */
    this.staleSince = null;
    /** @type {StaleReason | null} as the heartbeat says */
    this.staleReason = null;
    /** @type {NodeTrouble[]} */
    this.nodes = [];
    this.heardAt = platform.now();
    this.heard = false; // anything from this source
    this.reconnects = 0;
    /** @type {GoodbyeReason | null} until the next event */
    this.goodbye = null;
    this.parting = false; // a goodbye came, and its stream has not ended yet
    this.served = false; // this source has sent an event other than a goodbye
    /**
     * When a stream ended because its instance shuts down. Usually another instance answers within
     * HANDOVER_MS, and the calls held are not older than that: the state does not change until then.
     * @type {number | null} null again after the next event, or when HANDOVER_MS are over
     */
    this.drainedAt = null;
    /** @type {EventSourceLike | null} */
    this.source = null;
    this.stopped = false;
    this.stopLooking = () => {};
    this.retryMs = FIRST_RETRY_MS;
    this.retryAt = 0;
    this.probing = false;
    this.probedAt = 0;
  }

  start() {
    this.open();
    this.probe();
    this.stopLooking = this.browser.every(LOOK_MS, () => this.look());
    this.browser.onWake(() => this.look());
    this.browser.onLeave?.(this.reader); // a proxy may keep a stream when the page is gone
  }

  // Nothing is asked for after this.
  stop() {
    this.stopped = true;
    this.stopLooking();
    this.close();
  }

  // Begin anew: what we hold is wrong. With the pause of any other retry, which grows until a
  // heartbeat agrees, or a page that can never agree would ask for snapshots without end.
  resync() {
    this.later();
    this.enter("resyncing");
  }

  /**
   * Another view, or another login: at once, because an operator waits for it.
   * @param {string[][]} query
   */
  reopen(query) {
    this.query = query;
    this.retryMs = FIRST_RETRY_MS;
    this.close();
    this.enter("connecting");
    this.open();
  }

  open() {
    const query = new URLSearchParams(this.query);
    query.set("reader", this.reader);
    const position = this.position();
    // A new EventSource sends no Last-Event-ID header, so the query says where we are.
    if (position) query.set("last_event_id", position);
    const source = this.browser.eventSource(`${this.url}?${query}`);
    this.source = source;
    this.silentSince ??= this.browser.now();
    this.heardAt = this.browser.now();
    this.heard = false;
    this.served = false;
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

  /**
   * @param {string} name
   * @param {{ data: string, lastEventId: string }} event
   */
  hear(name, event) {
    this.heardAt = this.browser.now();
    this.heard = true;
    const data = parsed(event.data);
    if (data === null) {
      this.enter("disconnected"); // not from the service: something on the way changed it
      this.later();
      return;
    }
    this.silentSince = null;
    if (name !== "goodbye" || data.reason !== "drain") this.obstacle = null;
    if (name === "goodbye") {
      this.goodbye = data.reason;
      this.parting = true;
      // Renewed on the spot: that is nothing a wall needs to know of.
      if (data.reason === "rotation") this.later();
      if (data.reason === "expired" || data.reason === "revoked") this.probe();
    } else {
      this.goodbye = null;
      this.parting = false;
      this.served = true;
      this.drainedAt = null;
    }
    if (!this.on.event(name, data, event.lastEventId)) this.resync();
    else if (name === "heartbeat") this.believe(data);
  }

  /** @param {any} heartbeat */
  believe({ source, stale_since: since, stale_reason: reason, nodes = [] }) {
    this.nodes = nodes;
    this.retryMs = FIRST_RETRY_MS;
    this.staleSince = source === "live" ? null : since;
    this.staleReason = source === "live" ? null : reason;
    this.enter(source === "live" ? "live" : "stale");
    if (this.who === null && this.browser.now() - this.probedAt > PROBE_MS) this.probe();
  }

  broken() {
    const starting = this.parting && this.goodbye === "starting";
    const drained = this.parting && this.goodbye === "drain" && this.served;
    this.parting = false;
    this.served = false;
    if ([401, 403].includes(this.source?.status ?? 0)) {
      this.close();
      this.enter("signed out");
      return;
    }
    if (drained) this.drainedAt = this.browser.now();
    else if (this.state !== "signed out") this.enter(starting ? "starting" : "disconnected");
    // Alive, it comes back by itself after the retry that the server has told it.
    if (this.source?.readyState === 2) {
      this.later(this.source.retryMs); // dead for good: a new one
      this.probe(); // unless it is the login that is over
    }
  }

  // `atLeast`: what the service asked for, ms; a native EventSource keeps that by itself.
  later(atLeast = 0) {
    this.close();
    const pause = this.retryMs * (0.5 + this.browser.random() / 2);
    this.retryAt = this.browser.now() + Math.max(atLeast, pause);
    this.retryMs = Math.min(this.retryMs * 2, LAST_RETRY_MS);
  }

  // Twice a second, and when the page comes to the front or the network is back.
  look() {
    if (this.stopped) return;
    const now = this.browser.now();
    if (this.drainedAt !== null && now - this.drainedAt >= HANDOVER_MS) this.enter("disconnected");
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
    const held = this.silentSince !== null && now - this.silentSince > HELD_MS;
    // A proxy may answer the stream with a goodbye in place of a 502 (docs/proxies.md, nginx).
    const away = this.state === "disconnected" && now - this.since > HELD_MS;
    const unknown = this.state === "signed out" || held || away;
    if (unknown && now - this.probedAt > PROBE_MS) this.probe();
  }

  // Ask whether the login is still good: an EventSource never tells the status it got.
  async probe() {
    if (this.probing || this.stopped) return;
    this.probing = true;
    this.probedAt = this.browser.now();
    try {
      const { status, who, obstacle = null, server = "" } = await this.browser.session(this.reader);
      if (this.stopped) return;
      this.obstacle = this.state === "live" || this.state === "stale" ? null : obstacle;
      if (obstacle !== null) {
        this.on.state(); // not the service's answer: it signs no one out
      } else if (status === 401 || status === 403) {
        this.close();
        this.enter("signed out");
      } else if (status === 200) {
        this.who = who;
        if (this.isHeld(who)) this.obstacle = { kind: "held", status, server };
        const back = this.state === "signed out";
        this.enter(back ? "connecting" : this.state);
        if (back) this.open();
      }
    } catch {
      this.obstacle = null; // not reachable: that is what `disconnected` says already
    } finally {
      this.probing = false;
    }
  }

  /**
   * Whether something holds the stream back: the service has been sending, and nothing came.
   * @param {any} who
   */
  isHeld(who) {
    const silent = this.silentSince === null ? 0 : this.browser.now() - this.silentSince;
    return silent > HELD_MS && who.sending_seconds >= SENDING_S;
  }

  /** @param {ConnectionState} state */
  enter(state) {
    this.drainedAt = null;
    if (state !== this.state) {
      this.state = state;
      this.since = this.browser.now();
    }
    this.on.state();
  }
}

function randomName() { // crypto.randomUUID is for secure contexts only
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text */
function parsed(text) {
  try {
    const data = JSON.parse(text);
    return typeof data === "object" ? data : null;
  } catch {
    return null;
  }
}
