// What a connection needs of where it runs: a page, or a program in Node.js, Deno or Bun.

import { STREAM_PATH } from "./contract.js";
import { FetchEventSource } from "./event-source.js";
import { readSession } from "./obstacle.js";

/**
 * @typedef {Object} EventSourceLike
 * @property {number} readyState
 * @property {number} [status] of the response, which a native EventSource does not tell
 * @property {number} [retryMs] the least time until the next attempt
 * @property {(name: string, listener: (event: any) => void) => void} addEventListener
 * @property {() => void} close
 */
/**
 * @typedef {Object} Platform
 * @property {() => number} now the time that has passed, ms; never set back
 * @property {() => number} random from 0 to 1
 * @property {(ms: number, act: () => void) => () => void} every calls until the result is called
 * @property {(act: () => void) => void} onWake calls when the page or the network is back
 * @property {(reader: string) => void} [onLeave] tells the service, when the page closes, that the
 *   reader's stream ends
 * @property {(url: string) => EventSourceLike} eventSource
 * @property {(reader?: string) => Promise<import("./obstacle.js").SessionAnswer>} session who is
 *   logged in; with `reader` also whether the service is sending to its stream
 */

const SLEPT_MS = 2_000; // more than any busy moment
const SESSION_MS = 4_000; // how long the session may take to answer

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

/** @type {Pick<Platform, "now" | "random" | "every">} */
const anywhere = {
  now: passing(),
  random: () => Math.random(),
  every(ms, act) {
    const timer = setInterval(act, ms);
    return () => clearInterval(timer);
  },
};

/**
 * @param {string | URL} url
 * @param {string} [reader]
 * @param {() => Promise<Record<string, string>>} [headers]
 */
async function session(url, reader, headers) {
  const response = await fetch(reader === undefined ? url : `${url}?reader=${reader}`, {
    cache: "no-store",
    // oauth2-proxy redirects other requests to a login page. A redirect is not followed: a login
    // page of another site would be an error like any other.
    headers: { Accept: "application/json", ...(await headers?.()) },
    redirect: "manual",
    signal: AbortSignal.timeout(SESSION_MS),
  });
  return readSession(response);
}

/**
 * A page of the service's own origin, logged in with its cookie.
 * @type {Platform}
 */
export const browser = {
  ...anywhere,
  onWake(act) {
    document.addEventListener("visibilitychange", act);
    for (const name of ["online", "pageshow", "focus"]) addEventListener(name, act);
  },
  onLeave(reader) {
    addEventListener("pagehide", () => {
      const url = `${STREAM_PATH}?reader=${reader}`;
      fetch(url, { method: "DELETE", keepalive: true }).catch(() => {}); // it ends with its page
    });
  },
  eventSource: (url) => new EventSource(url),
  session: (reader) => session("api/v1/session", reader),
};

/**
 * A program, or a page of another origin: the stream over fetch, logged in with a token.
 * @param {string} url of the stream
 * @param {(() => string | Promise<string>) | string} [token] or a function that gives a current one
 * @returns {Platform}
 */
export function program(url, token) {
  const headers = async () => {
    const current = typeof token === "function" ? await token() : token;
    /** @type {Record<string, string>} */
    const login = current === undefined ? {} : { Authorization: `Bearer ${current}` };
    return login;
  };
  return {
    ...anywhere,
    onWake() {},
    eventSource: (address) => new FetchEventSource(address, headers),
    session(reader) {
      const address = new URL("../session", new URL(url, globalThis.location?.href));
      return session(address, reader, headers);
    },
  };
}
