// What the page says of a proxy that stands between it and the service, and the way out. Pure.
// `obstacle` is of client/obstacle.js: what kind, which status, and the proxy's name if it says one.

import { t } from "../text/catalogue.js";

// The text that names the line to change, by what a proxy calls itself in the Server or Via header. Traefik does not
// name itself; HAProxy and Envoy hold no responses back.
const LINES = [
  [/nginx|openresty/i, "proxy.nginx"],
  [/caddy/i, "proxy.caddy"],
];
const ANY_LINE = "proxy.any";

export const obstacleReason = ({ kind, status }) => t(`proxy.${kind}`, { status });

export function obstacleRemedy({ kind, server }) {
  if (kind !== "held") return t(`proxy.${kind}_remedy`);
  return t(LINES.find(([name]) => name.test(server))?.[1] ?? ANY_LINE);
}

// Whether loading the page anew shows what the proxy wants.
export function reloads(obstacle) {
  return obstacle !== null && ["login", "refused", "page"].includes(obstacle.kind);
}
