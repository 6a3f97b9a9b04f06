// The login page: a token becomes an HttpOnly cookie. The token comes from the form, or from the
// address's fragment, which browsers send to no server.
//
// Anybody can make a link with a token of their own. So the page asks before it follows a link that
// was opened from another site, or that would replace another login.

import { byId, setText } from "./elements.js";
import { errorText, warnOfPlainHttp } from "./session/responses.js";
import { t, translate, wantsLanguage } from "./text/catalogue.js";
import { plain } from "./text/text.js";

const SESSION = "api/v1/session";

// The view to come back to.
const asked = new URLSearchParams(location.search).get("next") ?? "";
const next = /^\/live-calls($|\?)/.test(asked) ? `.${asked}` : "live-calls";
// The service sets it if the page was not opened from another site (Fetch Metadata).
const openedHere = document.documentElement.dataset.opened === "here";

// The login of a token, or of the cookie without one: { who, detail }; `who` is null without a
// login, `detail` says why.
async function identity(token) {
  const request = token === undefined ? { headers: wantsLanguage() }
    : { credentials: "omit", headers: { Authorization: `Bearer ${token}`, ...wantsLanguage() } };
  const response = await fetch(SESSION, { cache: "no-store", ...request });
  if (response.ok) return { who: await response.json() };
  return { who: null, detail: await errorText(response) };
}

function named({ subject, role, company_id: company }) {
  const rights = company === undefined ? t("session.role_all", { role })
    : t("session.company", { company });
  return plain(t("session.named", { subject, rights }));
}

const same = (one, other) => ["subject", "role", "company_id"].every(
  (name) => one[name] === other[name],
);

function showMessage(text) {
  setText(byId("message"), plain(text));
}

async function login(token) {
  showMessage("");
  const response = await fetch(SESSION, {
    method: "POST",
    // Not in a header: a proxy with a password of its own requires its Basic credentials there.
    headers: { "Content-Type": "application/json", ...wantsLanguage() },
    body: JSON.stringify({ token }),
  });
  if (response.ok) {
    byId("token").value = ""; // the Back button would show it
    // All tabs share the cookie.
    new BroadcastChannel(`livestate login ${new URL(".", location).pathname}`).postMessage("changed");
    location.replace(next);
  } else {
    showMessage(await errorText(response));
  }
}

async function follow(token) {
  const { who, detail } = await identity(token);
  if (who === null) {
    showMessage(detail);
    return;
  }
  const { who: current } = await identity();
  if (openedHere && (current === null || same(who, current))) {
    await login(token);
    return;
  }
  byId("confirm").textContent = t("login.confirm", { name: named(who) });
  byId("current").textContent = current === null ? t("login.asked")
    : t("login.asked_other", { name: named(current) });
  byId("confirm").addEventListener("click", () => report(() => login(token)));
  byId("decline").addEventListener("click", () => location.replace("live-calls"));
  byId("form").hidden = true;
  byId("ask").hidden = false;
  byId("decline").focus(); // a key held down must not confirm
}

// Run an action; show a message if the service cannot be reached.
async function report(action) {
  try {
    await action();
  } catch {
    showMessage(t("page.unreachable"));
  }
}

translate(document);
warnOfPlainHttp();
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  report(() => login(byId("token").value.trim()));
});

const token = location.hash.slice(1);
// The service sets it for the demo, whose tokens are printed in a terminal.
const isDemo = "demo" in document.documentElement.dataset;
byId("form").hidden = !isDemo;
byId("no-form").hidden = isDemo || token !== "";
if (token) {
  history.replaceState(null, "", location.pathname); // the token must not stay in the history
  report(() => follow(token));
}
