// The model of the page: the client library's live calls, the service's clock and the last key
// figures. It shares one stream between the tabs of this browser.

import { LiveCalls as ClientCalls, SharedStream, STREAM_PATH, browser } from "./client/livestate.js";

// Age up to which this tab passes a heartbeat on to another tab. The other tab reports silence 9 s
// later, so old data never looks live for more than 10 s.
const FRESH_MS = 1_000;

export class LiveCalls extends ClientCalls {
  // `query`: the filters that the service applies, as [name, value] pairs.
  // `on.change(change)`: the calls changed; see `Fold.apply`.
  // `on.figures()`: new key figures. `on.state()`: the connection's state may have changed.
  // `on.login(who)`: the service has named the login of this session.
  constructor(query, on) {
    const session = async (reader) => {
      const answer = await browser.session(reader);
      // Before the stream of a new login brings its first call.
      if (answer.who !== null) on.login(answer.who);
      return answer;
    };
    const shared = new SharedStream({ session, state: () => this.copyForTab() });
    super(STREAM_PATH, {
      query,
      onChange: on.change,
      onFigures: (figures) => {
        this.figures = figures;
        on.figures();
      },
      platform: { ...browser, session, eventSource: (url) => shared.open(url) },
    });
    this.changed = on.state; // also where only a reason changed
    this.shared = shared;
    this.now = browser.now; // passing time, ms; also while the computer slept
    this.figures = {}; // the last `kpi` event
    this.receivedAt = 0; // when the last event came, ms of `now()`; 0 before the first one
    this.asOf = 0; // the service's clock at that time, ms since the epoch
  }

  // The service's clock, ms since the epoch. The browser's clock may be wrong or may be set, so it
  // is used only before the first event.
  serverTime() {
    return this.receivedAt === 0 ? Date.now() : this.asOf + this.age();
  }

  // Time since the last event, ms.
  age() {
    return this.now() - this.receivedAt;
  }

  // The time up to which the calls are known. It stands still while the data is stale.
  callTime() {
    const { state, staleSince } = this.connection;
    // Also while disconnected, if the data was stale before.
    if (state !== "live" && staleSince !== null) return staleSince;
    return state === "live" || this.receivedAt === 0 ? this.serverTime() : this.asOf;
  }

  receive(name, data, id) {
    if (data.as_of !== undefined) {
      this.receivedAt = this.now();
      this.asOf = data.as_of;
    }
    return super.receive(name, data, id);
  }

  // Ask for the calls of other filters. Those of the old filters stay until the snapshot is here.
  narrow(query) {
    if (JSON.stringify(query) === JSON.stringify(this.connection.query)) return;
    // Figures are of one company or of all: those shown until now would be of another scope.
    const companies = [query, this.connection.query].map((pairs) => (
      pairs.find(([name]) => name === "company_id")?.[1]));
    if (companies[0] !== companies[1]) this.figures = {};
    this.filter(query);
  }

  // All calls as one snapshot, for another tab; null while they are not known to be right.
  copyForTab() {
    const { connection, fold } = this;
    // A hidden tab runs its timers once a minute only: look at the connection's state now.
    connection.look();
    const { state, staleSince: stale_since, staleReason: stale_reason, nodes } = connection;
    if (!fold.complete || !["live", "stale"].includes(state)) return null;
    if (fold.parts !== null) return null; // the other tab would miss the first parts of an event
    const as_of = this.serverTime();
    const calls = Object.fromEntries(fold.calls);
    const events = [["snapshot", { part: 1, parts: 1, as_of, calls }], ["kpi", this.figures]];
    // An older heartbeat would restart the other tab's wait for silence: it takes the next one.
    if (this.age() < FRESH_MS) {
      const stale = state === "stale" ? { stale_since, stale_reason } : {};
      const { size } = fold.calls;
      events.push(
        ["heartbeat", { as_of, source: state, calls: size, digest: fold.digest, ...stale, nodes }],
      );
    }
    return { id: fold.id, events: events.map(([name, data]) => [name, JSON.stringify(data)]) };
  }

  // Keep nothing of what was received.
  forget() {
    this.fold.clear();
    this.figures = {};
    this.receivedAt = 0;
  }
}
