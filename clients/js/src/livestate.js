// The client library of livestate's stream: the live calls, kept right. README.md shows how.

import { Connection } from "./connection.js";
import { Fold } from "./fold.js";
import { browser, program } from "./platform.js";

export * from "./contract.js";
export { Connection, EVENTS } from "./connection.js";
export { FetchEventSource, Parser } from "./event-source.js";
export { Fold } from "./fold.js";
export { browser, program } from "./platform.js";
export { readSession } from "./obstacle.js";
export { SharedStream } from "./shared-stream.js";

/** @typedef {import("./contract.js").CallRecord} CallRecord */
/** @typedef {import("./contract.js").ConnectionState} ConnectionState */
/** @typedef {import("./fold.js").Change} Change */
/**
 * @typedef {Object} Options
 * @property {string | (() => string | Promise<string>)} [token] of a program, or a function that
 *   gives a current one. A page of the service's own origin needs none: it has a cookie.
 * @property {string[][]} [query] filters of the service: [["state", "held"], ["trunk", "gw-a"]]
 * @property {(change: Change, calls: Map<string, CallRecord>) => void} [onChange]
 * @property {(state: ConnectionState, connection: import("./connection.js").Connection) => void} [onState] the state changed
 * @property {(figures: any) => void} [onFigures] the key figures, with every heartbeat
 * @property {import("./platform.js").Platform} [platform] instead of the browser's or a program's
 */

/**
 * The live calls of a service. It folds the stream, checks each heartbeat's digest, resumes where
 * it was, and asks for a new snapshot when the digest differs.
 */
export class LiveCalls {
  /**
   * @param {string} url of the stream: https://noc.example/api/v1/live/calls
   * @param {Options} [options]
   */
  constructor(url, { token, query = [], onChange, onState, onFigures, platform } = {}) {
    /** @type {import("./fold.js").Fold} */
    this.fold = new Fold();
    this.on = { change: onChange, state: onState, figures: onFigures };
    /** @type {ConnectionState} */
    this.state = "connecting";
    const inPage = token === undefined && typeof EventSource !== "undefined";
    /** @type {import("./connection.js").Connection} */
    this.connection = new Connection(
      url, query, () => this.fold.id,
      { event: (name, data, id) => this.receive(name, data, id), state: () => this.changed() },
      platform ?? (inPage ? browser : program(url, token)),
    );
  }

  // Key → record. Believe it while `state` is "live"; as of `connection.staleSince` while "stale".
  get calls() {
    return this.fold.calls;
  }

  start() {
    this.connection.start();
    return this;
  }

  stop() {
    this.connection.stop();
  }

  /**
   * Another view: the calls here stay until its snapshot replaces them.
   * @param {string[][]} query
   */
  filter(query) {
    this.fold.doubt();
    this.connection.reopen(query);
  }

  /**
   * One event; false if the calls here turn out to be wrong.
   * @param {string} name
   * @param {any} data
   * @param {string} id
   */
  receive(name, data, id) {
    if (name === "kpi") this.on.figures?.(data);
    const change = this.fold.apply(name, data, id);
    if (change !== null) this.on.change?.(change, this.fold.calls);
    const right = name !== "heartbeat" || (this.fold.agrees(data) && this.fold.complete);
    if (!right) this.fold.doubt();
    return right;
  }

  changed() {
    const { state } = this.connection;
    if (state === this.state) return;
    this.state = state;
    this.on.state?.(state, this.connection);
  }
}
