// Log a wall display in (RFC 8628): the page shows a code, a person confirms it on a phone, and the
// page polls until then. It replaces an expired code by itself, because a wall may be unattended.

import { byId, setText } from "./elements.js";
import { isProblem } from "./client/obstacle.js";
import { errorText, warnOfPlainHttp } from "./session/responses.js";
import { t, translate, wantsLanguage } from "./text/catalogue.js";
import { plain } from "./text/text.js";

const next = new URLSearchParams(location.search).get("next") ?? "/live-calls"; // within the service
const wait = (seconds) => new Promise((done) => { setTimeout(done, seconds * 1000); });
const RETRY_SECONDS = 15; // after a failure

const post = (path) => fetch(path, {
  method: "POST", cache: "no-store", headers: wantsLanguage(), signal: AbortSignal.timeout(20_000),
});

function showMessage(text) {
  setText(byId("message"), plain(text));
}

// True once this browser is logged in; false if the code was refused or has expired.
async function confirmed({ interval, seconds }) {
  const until = performance.now() + seconds * 1000;
  let pause = interval;
  while (performance.now() < until) {
    await wait(pause);
    let response;
    try {
      response = await post("device/poll");
      if (response.status === 200) {
        location.replace(`..${(await response.json()).next}`);
        return true;
      }
      if (response.status === 202) {
        pause = (await response.json()).interval;
        showMessage("");
        continue;
      }
      if (response.status === 403 && isProblem(response)) {
        showMessage((await response.json()).detail);
        return false;
      }
    } catch {
      // handled below
    }
    showMessage(t("page.unreachable_again"));
    pause = Math.max(interval, 5);
  }
  return false;
}

async function attempt() {
  const response = await post(`device?next=${encodeURIComponent(next)}`);
  if (!response.ok) {
    showMessage(await errorText(response));
    return false;
  }
  const shown = await response.json();
  byId("code").textContent = plain(shown.code);
  byId("address").textContent = plain(shown.address);
  byId("address").href = shown.complete ?? shown.address;
  byId("confirm").hidden = false;
  return confirmed(shown);
}

translate(document);
warnOfPlainHttp();
byId("here").href = `../login?here&next=${encodeURIComponent(next)}`;
for (;;) {
  let done = false;
  try {
    done = await attempt();
  } catch {
    showMessage(t("page.unreachable_again"));
  }
  if (done) break;
  byId("confirm").hidden = true;
  await wait(RETRY_SECONDS);
}
