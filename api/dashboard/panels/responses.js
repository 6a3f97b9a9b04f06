// Final SIP responses and outcomes for people. Pure.

import { outcomeText } from "../table/endings.js";

// Reason phrases of RFC 3261 §21 and later ones that carriers send.
const PHRASES = {
  300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
  380: "Alternative Service", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required",
  403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
  407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone",
  413: "Request Entity Too Large", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme",
  420: "Bad Extension", 421: "Extension Required", 422: "Session Interval Too Small",
  423: "Interval Too Brief", 428: "Use Identity Header", 433: "Anonymity Disallowed",
  436: "Bad Identity Info", 437: "Unsupported Credential", 438: "Invalid Identity Header",
  480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
  483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here",
  487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending",
  500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway",
  503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
  513: "Message Too Large", 580: "Precondition Failure", 600: "Busy Everywhere", 603: "Decline",
  604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted", 608: "Rejected",
};
// What the person called, or the caller, did: the network worked (ITU-T E.425; decision 15).
const BY_PEOPLE = new Set(["480", "486", "487", "600", "603", "607", "408", "busy", "declined",
  "canceled", "no_answer", "unavailable", "redirected"]);

export const name = outcomeText;
export const phrase = (code) => PHRASES[code] ?? "";
// Whether a response is a fault. 408 and 487 may be either, so they are not painted as one; the
// counted faults are the service's.
export const isFault = (code) => !BY_PEOPLE.has(code) && !code.startsWith("3");
