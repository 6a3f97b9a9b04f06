// What the page says of a proxy that stands between it and the service, and the way out. Pure.
// `obstacle` is of client/obstacle.js: what kind, which status, and the proxy's name if it says one.

const REASONS = {
  held: "A proxy holds the stream back: the service sends, and nothing arrives here.",
  login: "A proxy asks for its own login.",
  refused: "A proxy answers instead of the service",
  page: "A proxy answers with a page of its own instead of the service.",
  gateway: "The proxy does not reach the service",
};
const REMEDIES = {
  login: "Reload the page and log in there.",
  refused: "Reload the page; if that does not help, ask the proxy's administrator.",
  page: "Reload the page to see it.",
  gateway: "The page tries again every few seconds.",
};
// The line to change, by what a proxy calls itself in the Server or Via header. Traefik does not
// name itself; HAProxy and Envoy hold no responses back.
const LINES = [
  [/nginx|openresty/i, "In nginx set: proxy_buffering off;"],
  [/caddy/i, "In the Caddyfile remove response_buffers."],
];
const ANY_LINE = "nginx: proxy_buffering off; Traefik: no buffering middleware. Others: docs/proxies.md.";

export function obstacleReason({ kind, status }) {
  const text = REASONS[kind];
  return text.endsWith(".") ? text : `${text} (${status}).`;
}

export function obstacleRemedy({ kind, server }) {
  if (kind !== "held") return REMEDIES[kind];
  return LINES.find(([name]) => name.test(server))?.[1] ?? ANY_LINE;
}

// Whether loading the page anew shows what the proxy wants.
export function reloads(obstacle) {
  return obstacle !== null && ["login", "refused", "page"].includes(obstacle.kind);
}
