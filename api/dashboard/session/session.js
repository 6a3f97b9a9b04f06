// Whose page this is. After a logout, or when another login takes over, nothing of the calls of the
// login before is left: not in memory, in the document, in the address or in a picture.

import { byId, setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { plain } from "../text/text.js";

const SESSION = "api/v1/session";
const LOGOUT_MS = 10_000; // time that the service has to answer a logout

export class Session {
  // `forget()` drops all calls; `startOver()` also drops filters, which may name companies, and
  // opens a new stream; `reload()` drops the calls and opens a new stream with the same filters;
  // `verify()` asks the service for the session; `changed(who)` is called when another login, or
  // none (null), is shown.
  constructor({ forget, startOver, reload, verify, changed }) {
    Object.assign(this, { forget, startOver, reload, verify, changed });
    this.who = undefined; // what is shown: subject, role, company_id; null without a login
    this.owner = null; // the login whose calls are or were here
    this.signedOut = false;
    byId("logout").addEventListener("click", () => this.logOut());
    // All tabs of a browser share the session's cookie.
    this.tabs = new BroadcastChannel(`livestate login ${new URL(".", location).pathname}`);
    this.tabs.addEventListener("message", ({ data }) => this.changedElsewhere(data));
    // The Back button restores a page from the browser's cache as it was, calls included.
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.changedElsewhere("changed");
    });
  }

  // The service has named the login of this session. A renewed login keeps its filters.
  recognise({ subject, role, company_id: company }) {
    const login = JSON.stringify([subject, role, company]);
    const another = this.owner !== null && this.owner !== login;
    this.owner = login;
    if (another) this.startOver();
  }

  show(signedOut, who) {
    if (signedOut !== this.signedOut) this.showSignedOut(signedOut);
    if (who !== this.who) this.showName(who);
  }

  showSignedOut(signedOut) {
    this.signedOut = signedOut;
    byId("signed-out").hidden = !signedOut;
    byId("logout").hidden = signedOut;
    byId("who").hidden = signedOut;
    if (!signedOut) return;
    this.forget();
    // The login page comes back to this view.
    const next = encodeURIComponent(`/live-calls${location.search}`);
    for (const id of ["login", "signed-out-login"]) byId(id).href = `login?next=${next}`;
  }

  showName(who) {
    this.who = who;
    const company = who?.company_id;
    const name = company === undefined ? who?.role : plain(t("session.company", { company }));
    setText(byId("who"), name ?? "");
    byId("logout").hidden = who === null;
    this.changed(who);
  }

  // The cookie is HttpOnly: only the service can delete it. Until it has answered, the browser is
  // logged in.
  async logOut() {
    setText(byId("logout-failed"), "");
    let providerLogout = null; // address that ends the session at the identity provider
    let done = false;
    try {
      const signal = AbortSignal.timeout(LOGOUT_MS);
      const response = await fetch(SESSION, { method: "DELETE", signal });
      done = response.ok;
      if (response.status === 200) providerLogout = (await response.json()).end_session;
    } catch {
      done = false;
    }
    if (!done) {
      setText(byId("logout-failed"), t("session.still_in"));
      return;
    }
    this.tabs.postMessage("out");
    this.changedElsewhere("out");
    if (providerLogout !== null) location.assign(providerLogout);
  }

  // `how`: "out", or "changed" for another login.
  changedElsewhere(how) {
    if (how === "out") this.startOver();
    else this.reload();
    this.verify();
  }
}
