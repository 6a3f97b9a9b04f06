// Server-Sent Events over fetch: for programs, and for pages that log in with a token, because a
// native EventSource sends no Authorization header. The same parser in Python:
// livestate/client/sse.py; tests/vectors/sse.json binds both to a browser's own.

import { isProblem } from "./obstacle.js";

/** @typedef {{ name: string, data: string, id: string }} ServerEvent */

/** Text in any pieces to events (WHATWG HTML §9.2.6). Lines end in LF, CR LF or CR. */
export class Parser {
  constructor() {
    /** @type {number | null} the last one received, ms */
    this.retry = null;
    this.rest = "";
    this.afterCr = false; // an LF at the start of the next piece belongs to that CR
    this.id = "";
    this.name = "";
    /** @type {string[]} */
    this.data = [];
  }

  /**
   * The events that this piece completes.
   * @param {string} piece
   * @returns {ServerEvent[]}
   */
  feed(piece) {
    /** @type {ServerEvent[]} */
    const events = [];
    if (this.afterCr && piece !== "") {
      if (piece.startsWith("\n")) piece = piece.slice(1);
      this.afterCr = false;
    }
    if (piece.endsWith("\r")) this.afterCr = true;
    const lines = (this.rest + piece).split(/\r\n|\n|\r/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== "") {
        this.field(line);
        continue;
      }
      if (this.data.length > 0) {
        events.push({ name: this.name || "message", data: this.data.join("\n"), id: this.id });
      }
      this.name = "";
      this.data = [];
    }
    return events;
  }

  /** @param {string} line */
  field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.data.push(value);
    else if (name === "event") this.name = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }
}

/**
 * One response, in the shape of an EventSource. It never reconnects: once the response ends, for
 * whatever reason, `readyState` is 2, and `Connection` opens the next one, `retryMs` later or more.
 */
export class FetchEventSource extends EventTarget {
  /**
   * @param {string} url
   * @param {() => Promise<Record<string, string>>} [headers] asked for each request
   * @param {typeof globalThis.fetch} [fetch]
   */
  constructor(url, headers = async () => ({}), fetch = globalThis.fetch) {
    super();
    this.readyState = 0;
    this.status = 0; // of the response, if it is the service's own
    this.retryMs = 0; // what the service asked for
    this.aborted = new AbortController();
    this.read(url, headers, fetch).catch(() => {}).finally(() => {
      if (this.readyState === 2) return;
      this.readyState = 2;
      this.aborted.abort(); // also where the response was not one to read
      this.dispatchEvent(new Event("error"));
    });
  }

  close() {
    this.readyState = 2;
    this.aborted.abort();
  }

  /**
   * @param {string} url
   * @param {() => Promise<Record<string, string>>} headers
   * @param {typeof globalThis.fetch} fetch
   */
  async read(url, headers, fetch) {
    const { signal } = this.aborted;
    const accept = { Accept: "text/event-stream", ...(await headers()) };
    const response = await fetch(url, { headers: accept, cache: "no-store", signal });
    const { status, headers: got, body } = response;
    this.status = status === 200 || isProblem(response) ? status : 0;
    if (status !== 200 || body === null) return;
    if (!got.get("content-type")?.startsWith("text/event-stream")) return;
    if (this.readyState !== 0) return;
    this.readyState = 1;
    const parser = new Parser();
    const reader = body.getReader();
    const decoder = new TextDecoder(); // drops a byte order mark, joins split characters
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = parser.feed(decoder.decode(value, { stream: true }));
      this.retryMs = parser.retry ?? this.retryMs;
      for (const { name, data, id } of events) {
        if (this.readyState !== 1) return;
        this.dispatchEvent(Object.assign(new Event(name), { data, lastEventId: id }));
      }
    }
  }
}
