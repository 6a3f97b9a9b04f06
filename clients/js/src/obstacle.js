// What stands between a client and the service, where a response is not the service's own: a proxy
// that refuses, asks for a login, cannot reach the service, or holds the stream back.

/**
 * `login`: a redirect. `refused`: 4xx. `gateway`: 5xx. `page`: a page instead of JSON. `held`: the
 * service sends to this client's stream, and nothing arrives.
 * @typedef {{ kind: "login" | "refused" | "gateway" | "page" | "held", status: number, server: string }} Obstacle
 */
/**
 * `who`: whose session it is; null without one. `obstacle`: null if the service itself answered.
 * `server`: what a proxy calls itself; the service sends no such header.
 * @typedef {{ status: number, who: any, obstacle: Obstacle | null, server: string }} SessionAnswer
 */

/**
 * Errors of the service are problem details (RFC 9457). Nothing else may sign a client out.
 * @param {{ headers: Headers }} response
 */
export function isProblem({ headers }) {
  return type(headers) === "application/problem+json";
}

/**
 * Read a response to `GET /api/v1/session`, which was asked for with `redirect: "manual"`.
 * @param {Response} response
 * @returns {Promise<SessionAnswer>}
 */
export async function readSession(response) {
  const { status, headers } = response;
  const server = headers.get("server") ?? headers.get("via") ?? "";
  if (isProblem(response)) return { status, who: null, obstacle: null, server };
  if (response.ok && type(headers) === "application/json") {
    const who = await response.json().catch(() => null);
    if (typeof who?.role === "string") return { status, who, obstacle: null, server };
  }
  const redirected = response.type === "opaqueredirect" || (status >= 300 && status < 400);
  const kind = redirected ? "login" : status >= 500 ? "gateway" : status >= 400 ? "refused" : "page";
  return { status, who: null, obstacle: { kind, status, server }, server };
}

/** @param {Headers} headers */
function type(headers) {
  return (headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
}
