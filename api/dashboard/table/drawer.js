// The drawer: one call with its timeline and fields, and why it is an anomaly.

import { callPairs } from "../address.js";
import { STREAM_PATH } from "../client/contract.js";
import { isProblem } from "../client/obstacle.js";
import { setText } from "../elements.js";
import { t } from "../text/catalogue.js";
import { isUtc, length, masked, plain, timeOfDay } from "../text/text.js";
import { reasons } from "./anomalies.js";
import { endText } from "./endings.js";
import { fieldItems, partyElements, sinceLastStep, timelineItems } from "./call-details.js";
import { COLUMNS } from "./columns.js";
import { STATES } from "./filters.js";

const FETCH_MS = 1_000; // at least, between two requests for a call that keeps changing
const POLL_MS = 3_000; // between two requests for a call that the stream leaves out
const TIMEOUT_MS = 4_000;

export class Drawer {
  // `clock()` is the service's time, ms since the epoch; `options()` gives { mask, limits };
  // `closed()` is called after a click has closed the drawer, `changed()` when `pairs` may differ.
  constructor(element, { clock, options, closed, changed }) {
    this.element = element;
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.clock = clock;
    this.options = options;
    this.changed = changed;
    this.key = null; // of the call shown
    this.known = {}; // what its address says of it, see address.js
    this.details = null; // see call-details.js
    this.fetchedAt = -Infinity; // passing time of the last request, ms
    this.version = null; // of the call's record when `details` were fetched
    this.part("close").addEventListener("click", () => {
      this.close();
      closed();
    });
    this.part("copy").addEventListener("click", () => {
      this.copy(this.part("call-id").textContent, this.part("call-id"));
    });
    const link = document.createElement("button");
    link.type = "button";
    link.dataset.part = "copy-link";
    link.textContent = t("call.copy_link");
    link.addEventListener("click", () => this.copy(this.address));
    this.part("copy").after(" ", link);
  }

  // `known`: { callId, since } of the call, as its link says.
  open(key, known = {}) {
    this.forget();
    this.key = key;
    this.known = known;
    this.fetchedAt = -Infinity;
    this.element.hidden = false;
    setText(this.part("state"), t("call.loading"));
    this.changed();
  }

  close() {
    if (this.key === null) return;
    this.shut();
    this.changed();
  }

  shut() {
    this.key = null;
    this.element.hidden = true;
  }

  // What the page's address says of the open call, as [name, value] pairs.
  pairs() {
    return this.key === null ? [] : callPairs({ key: this.key, ...this.known });
  }

  // A link to the open call alone.
  get address() {
    return `${location.origin}${location.pathname}?${new URLSearchParams(this.pairs())}`;
  }

  // Keep nothing of the call in the document, not even hidden. The address stays: the next login of
  // the same user comes back to the call.
  forget() {
    this.shut();
    this.known = {};
    this.details = null;
    this.version = null;
    this.painted = null; // the details, how they are masked, and the zone, as they are in the document
    for (const name of ["title", "state", "why", "call-id", "copied", "timeline", "details"]) {
      this.part(name).replaceChildren();
    }
    this.link("link", undefined);
    this.link("cdr-link", undefined);
  }

  // Called twice a second. `record` is the call as the page has it, undefined after its end; `now`
  // is passing time, ms.
  async tick(record, now) {
    if (this.key === null) return;
    if (this.details !== null) this.paint(record);
    // The filters of the stream may leave out a call that is up: ask for it again and again.
    const version = record?.v ?? (isUp(this.details) ? Math.floor(now / POLL_MS) : "ended");
    if (version === this.version || now - this.fetchedAt < FETCH_MS) return;
    this.fetchedAt = now;
    const { key } = this;
    const details = await fetchDetails(this.pairs());
    if (this.key !== key || details === null) return; // another call is open, or the next tick asks
    this.version = version;
    if (details.forgotten === undefined) this.recall(details);
    // What was read of the call before it was forgotten is still true of it.
    else this.details = { ...(this.details ?? { timeline: [], ...details }), forgotten: details.forgotten };
    this.paint(record);
  }

  // Take details, and what the address says of the call from now on.
  recall(details) {
    this.details = details;
    const callId = details.call_id;
    const since = details.setup_at ?? details.timeline[0]?.at;
    if (callId === this.known.callId && since === this.known.since) return;
    this.known = { callId, since };
    this.changed();
  }

  paint(record) {
    const { details } = this;
    const { mask, limits } = this.options();
    const now = this.clock();
    const live = record !== undefined || isUp(details);
    const shown = (text) => (text === undefined ? "–" : plain(mask ? masked(text) : text));
    const parties = [shown(details.from), shown(details.to)];
    const named = details.node !== undefined;
    if (!named) setText(this.part("title"), t("call.unknown"));
    else if (this.part("title").textContent !== parties.join(" → ")) {
      this.part("title").replaceChildren(...partyElements(...parties));
    }
    setText(this.part("state"), live ? COLUMNS.state.text(record ?? details, now) : endedText(details, this.known, now));
    const why = live ? reasons(record ?? details, now, limits) : [];
    this.part("why").hidden = why.length === 0;
    setText(this.part("why"), why.join("\n"));
    setText(this.part("call-id"), plain(details.call_id ?? this.known.callId ?? ""));
    this.link("link", details.link);
    this.link("cdr-link", details.cdr_link);
    const sinceLast = this.element.querySelector(".since-last");
    if (sinceLast !== null) setText(sinceLast, sinceLastStep(details, now, live));
    const { painted } = this;
    const utc = isUtc();
    if (painted?.details === details && painted.mask === mask && painted.utc === utc
      && (sinceLast !== null) === live) return;
    this.painted = { details, mask, utc };
    this.part("timeline").replaceChildren(...timelineItems(details, now, live));
    this.part("details").replaceChildren(...fieldItems(details, shown));
  }

  // The call's trace or CDR in another tool; see LIVESTATE_TRACE_URL and LIVESTATE_CDR_URL.
  link(name, url) {
    this.part(name).hidden = url === undefined;
    if (url !== undefined) this.part(name).href = url;
    else this.part(name).removeAttribute("href");
  }

  // Copy a text. Where the browser forbids that, it is selected where it stands: in `element`, or
  // behind the button.
  async copy(text, element) {
    const note = this.part("copied");
    try {
      await navigator.clipboard.writeText(text);
      note.textContent = t("call.copied");
    } catch {
      note.textContent = element === undefined ? text : t("call.selected");
      getSelection().selectAllChildren(element ?? note);
    }
  }
}

const isUp = (details) => details !== null && Object.hasOwn(STATES, details.state) && !details.forgotten;

// How a call ended. `known`: what its link says of it; `now`: ms since the epoch.
function endedText(details, { since }, now) {
  if (details.outcome !== undefined) {
    const text = endText(details, details);
    return details.outcome === "answered" ? text : t("drawer.ended", { outcome: text });
  }
  const kept = details.forgotten?.kept_seconds;
  if (kept === undefined) return t("call.ended");
  const values = { kept: length(kept * 1000), time: timeOfDay(now - kept * 1000, now) };
  if (since === undefined) return t("call.forgotten", values);
  return t("call.forgotten_since", { ...values, since: timeOfDay(since, now) });
}

// The service's response for a call: `forgotten` is its refusal if it does not know the call; null if
// it cannot be reached, which the status bar shows. `pairs`: of the page's address.
async function fetchDetails([[, key], ...known]) {
  try {
    const query = known.length === 0 ? "" : `?${new URLSearchParams(known)}`;
    const response = await fetch(`${STREAM_PATH}/${encodeURIComponent(key)}${query}`, {
      cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.ok) return await response.json();
    if (response.status !== 404 || !isProblem(response)) return null;
    const { link, cdr_link, kept_seconds } = await response.json();
    return { link, cdr_link, forgotten: { kept_seconds } };
  } catch {
    return null;
  }
}
