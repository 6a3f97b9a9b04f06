// Made by `make docs` from the Python contract (docs/javascript.py).

/** The stream, relative to the service's address; one call is below it, by its key. */
export const STREAM_PATH = "api/v1/live/calls";

/** The state of a live call. @typedef {"trying" | "ringing" | "early" | "answered" | "held"} LiveState */
/** @type {readonly LiveState[]} */
export const LIVE_STATES = Object.freeze(["trying", "ringing", "early", "answered", "held"]);

/** The state of the connection; see docs/clients.md. @typedef {"connecting" | "starting" | "live" | "stale" | "resyncing" | "disconnected" | "signed out"} ConnectionState */
/** @type {readonly ConnectionState[]} */
export const CONNECTION_STATES = Object.freeze(["connecting", "starting", "live", "stale", "resyncing", "disconnected", "signed out"]);

/** Why the service ends a stream. @typedef {"drain" | "rotation" | "expired" | "revoked" | "overload" | "starting" | "stalled" | "replaced"} GoodbyeReason */
/** @type {readonly GoodbyeReason[]} */
export const GOODBYE_REASONS = Object.freeze(["drain", "rotation", "expired", "revoked", "overload", "starting", "stalled", "replaced"]);

/** Why what is shown is stale. @typedef {"no_node" | "silent" | "lists" | "contested" | "refused"} StaleReason */
/** @type {readonly StaleReason[]} */
export const STALE_REASONS = Object.freeze(["no_node", "silent", "lists", "contested", "refused"]);

/**
 * One live call; times are ms since the Unix epoch.
 * @typedef {Object} CallRecord
 * @property {LiveState} state
 * @property {string} node
 * @property {string} call_id
 * @property {boolean} [unconfirmed]
 * @property {number} v
 * @property {string} [company_id]
 * @property {"inbound" | "outbound" | "internal"} [direction]
 * @property {string} [from]
 * @property {string} [to]
 * @property {string} [from_uri]
 * @property {string} [to_uri]
 * @property {string} [trunk]
 * @property {number} [attempt]
 * @property {number} [setup_at]
 * @property {number} [progress_at]
 * @property {number} [answered_at]
 * @property {number} [ended_at]
 * @property {number} [sip_code]
 * @property {string} [sip_reason]
 * @property {"caller" | "callee" | "proxy" | "timeout_ringing" | "timeout_no_reply"} [by]
 * @property {"answered" | "busy" | "no_answer" | "no_reply" | "canceled" | "declined" | "unavailable" | "invalid_number" | "congestion" | "rejected_local" | "failed" | "expired" | "terminated" | "lost" | "challenged" | "redirected"} [outcome]
 * @property {string} [detail]
 * @property {number} [mos]
 * @property {number} [jitter_ms]
 * @property {number} [loss_pct]
 */

/**
 * Why a call left.
 * @typedef {Object} Ending
 * @property {"answered" | "busy" | "no_answer" | "no_reply" | "canceled" | "declined" | "unavailable" | "invalid_number" | "congestion" | "rejected_local" | "failed" | "expired" | "terminated" | "lost" | "challenged" | "redirected"} outcome
 * @property {number} ended_at
 * @property {number} [sip_code]
 */
