// What pages that log in say of a response, and of their own address.

import { isProblem } from "../client/obstacle.js";
import { t } from "../text/catalogue.js";

// Why a request failed: as the service says, or that something else answered.
export async function errorText(response) {
  if (isProblem(response)) return (await response.json()).detail;
  return t("page.proxy_answers", { status: response.status });
}

// Browsers drop a `Secure` cookie over plain HTTP, except on localhost.
export function warnOfPlainHttp() {
  for (const one of document.querySelectorAll(".plain-http")) one.hidden = isSecureContext;
}
