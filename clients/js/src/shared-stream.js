// One stream for all tabs of a browser: HTTP/1.1 allows six connections a host, and six walls of
// the same picture need one. The tab that holds a Web Lock has the EventSource and passes on what
// it hears over a BroadcastChannel; the others ask it for what it has, and listen.
//
// Each tab gets something that looks like an EventSource and believes nothing: it folds, checks
// digests and watches for silence by itself. If the one that leads says nothing, it gets a
// stream of its own. Tabs of different logins or filters have nothing in common.

import { EVENTS } from "./connection.js";

/** What a tab gives to another one: everything, as events. @typedef {{ id: string, events: string[][] }} Whole */
/**
 * @typedef {Object} Surroundings
 * @property {() => Promise<{ status: number, who: any }>} session whose the stream will be
 * @property {() => Whole | null} state what this tab has, if it is whole and believed
 * @property {LockManager} [locks]
 * @property {typeof BroadcastChannel} [makeChannel]
 */

class Source extends EventTarget {
  constructor() {
    super();
    this.readyState = 0;
    this.closed = false;
    this.heard = false;
    this.following = false; // its events come from another tab
    /** @type {EventSource | null} where this tab has it */
    this.real = null;
    this.joined = false; // what we got of the leading tab is whole up to now
  }

  /**
   * @param {string} name
   * @param {string} data
   * @param {string} id
   */
  tell(name, data, id) {
    this.heard = true;
    this.readyState = 1;
    this.dispatchEvent(new MessageEvent(name, { data, lastEventId: id }));
  }

  /** @param {number} readyState */
  fail(readyState) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }

  close() {
    this.readyState = 2;
    this.closed = true;
    this.real?.close();
  }
}

export class SharedStream {
  /** @param {Surroundings} surroundings */
  constructor({ session, state, locks = navigator.locks, makeChannel = window.BroadcastChannel }) {
    this.session = session;
    this.state = state;
    this.locks = locks;
    this.makeChannel = makeChannel;
    this.me = crypto.randomUUID?.() ?? String(Math.random());
    /** @type {string | null} of the lock and the channel */
    this.name = null;
    /** @type {BroadcastChannel | null} */
    this.channel = null;
    this.leading = false;
    this.followed = false; // there is, or may be, a tab to pass on to
    this.alone = locks === undefined || makeChannel === undefined;
    /** @type {Set<string>} tabs that asked before we had anything whole */
    this.waiting = new Set();
    /** @type {Source | null} */
    this.source = null;
    document.addEventListener("freeze", () => {
      this.leave(); // a frozen tab cannot lead
      this.source?.close();
    });
  }

  /**
   * Something that looks like an EventSource.
   * @param {string} url
   */
  open(url) {
    if (this.source !== null && this.source.following && !this.source.heard) this.alone = true;
    const source = new Source();
    this.source = source;
    this.begin(source, url);
    return source;
  }

  get role() {
    return this.alone ? "alone" : this.leading ? "leads" : "follows";
  }

  /**
   * @param {Source} source
   * @param {string} url
   */
  async begin(source, url) {
    try {
      const { who } = await this.session();
      if (source.closed) return;
      if (who === null) {
        // Not ours to judge: a login that is over and a proxy's 502 both end this attempt.
        source.fail(2);
        return;
      }
      if (!this.alone) await this.join(`livestate ${scope(url)} ${JSON.stringify(who)}`);
    } catch {
      source.fail(2);
      return;
    }
    if (source.closed) return;
    if (this.alone || this.leading) this.listen(source, url);
    else this.follow(source);
  }

  // -- the lock ----------------------------------------------------------------------------

  /** @param {string} name */
  async join(name) {
    if (name === this.name || this.locks === undefined) return;
    const { locks } = this;
    this.leave();
    this.name = name;
    this.channel = new this.makeChannel(name);
    this.channel.addEventListener("message", ({ data }) => this.hear(data));
    const leaving = new AbortController();
    this.leaving = leaving;
    const held = () => {
      this.leading = true;
      return new Promise((/** @type {(value?: unknown) => void} */ release) =>
        leaving.signal.addEventListener("abort", release));
    };
    await new Promise((/** @type {(value?: unknown) => void} */ known) => {
      locks.request(name, { ifAvailable: true }, (lock) => {
        const until = lock === null || leaving.signal.aborted ? undefined : held();
        known();
        return until;
      });
    });
    this.followed = !this.leading; // who waited for the lock may have others behind
    if (this.leading || leaving.signal.aborted) return;
    locks.request(name, { signal: leaving.signal }, () => {
      const until = held();
      this.source?.fail(2); // who led is gone: a stream of our own, from where we are
      return until;
    }).catch(() => {}); // we left before it was our turn
  }

  leave() {
    this.leaving?.abort();
    this.channel?.close();
    this.channel = null;
    this.name = null;
    this.leading = false;
    this.waiting.clear();
  }

  // -- who leads ---------------------------------------------------------------------------

  /**
   * @param {Source} source
   * @param {string} url
   */
  listen(source, url) {
    const real = new EventSource(url);
    source.real = real;
    for (const name of EVENTS) {
      real.addEventListener(name, ({ data, lastEventId }) => {
        if (source.closed) return;
        if (this.leading && this.followed) {
          this.channel?.postMessage({ name, data, id: lastEventId });
        }
        source.tell(name, data, lastEventId);
        this.answer();
      });
    }
    real.addEventListener("error", () => {
      if (source.closed) return;
      if (this.leading) this.channel?.postMessage({ broken: true });
      source.fail(real.readyState);
    });
  }

  answer() {
    if (this.waiting.size === 0) return;
    const whole = this.state();
    if (whole === null) return;
    for (const tab of this.waiting) this.channel?.postMessage({ to: tab, ...whole });
    this.waiting.clear();
  }

  // -- who follows -------------------------------------------------------------------------

  /** @param {Source} source */
  follow(source) {
    source.following = true;
    this.channel?.postMessage({ asks: this.me });
  }

  /** @param {any} said */
  hear(said) {
    if (said.asks !== undefined) {
      this.followed = true;
      if (!this.leading) return;
      this.waiting.add(said.asks);
      this.answer();
      return;
    }
    const { source } = this;
    if (source === null || source.closed || !source.following) return;
    if (said.to === this.me && !source.joined) {
      source.joined = true;
      for (const [name, data] of said.events) {
        source.tell(name, data, name === "snapshot" ? said.id : "");
      }
    } else if (said.to === undefined && source.joined) {
      if (said.broken) source.fail(0);
      else source.tell(said.name, said.data, said.id);
    }
  }
}

/** @param {string} url */
function scope(url) {
  const { pathname, searchParams: query } = new URL(url, location.href);
  query.delete("last_event_id");
  query.delete("reader");
  return `${pathname}?${query}`; // a host may have another service below another path
}
