// The drawer: one call with its timeline and fields, and why it is an anomaly.

import { STREAM_PATH } from "../client/contract.js";
import { setText } from "../elements.js";
import { isUtc, masked, plain } from "../text/text.js";
import { reasons } from "./anomalies.js";
import { endText } from "./endings.js";
import { fieldItems, partyElements, sinceLastStep, timelineItems } from "./call-details.js";
import { COLUMNS } from "./columns.js";

const FETCH_MS = 1_000; // at least, between two requests for a call that keeps changing
const TIMEOUT_MS = 4_000;

export class Drawer {
  // `clock()` is the service's time, ms since the epoch; `options()` gives { mask, limits };
  // `closed()` is called after the drawer was closed.
  constructor(element, { clock, options, closed }) {
    this.element = element;
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.clock = clock;
    this.options = options;
    this.key = null; // of the call shown
    this.details = null; // see call-details.js
    this.fetchedAt = -Infinity; // passing time of the last request, ms
    this.version = null; // of the call's record when `details` were fetched
    this.part("close").addEventListener("click", () => {
      this.close();
      closed();
    });
    this.part("copy").addEventListener("click", () => this.copy());
  }

  open(key) {
    this.forget();
    this.key = key;
    this.fetchedAt = -Infinity;
    this.element.hidden = false;
  }

  close() {
    this.key = null;
    this.element.hidden = true;
  }

  // Keep nothing of the call in the document, not even hidden.
  forget() {
    this.close();
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
    const version = record?.v ?? "ended";
    if (version === this.version || now - this.fetchedAt < FETCH_MS) return;
    this.fetchedAt = now;
    const { key } = this;
    const details = await fetchDetails(key);
    if (this.key !== key || details === null) return; // another call is open, or the next tick asks
    this.version = version;
    this.details = details;
    this.paint(record);
  }

  paint(record) {
    const { details } = this;
    const { mask, limits } = this.options();
    const now = this.clock();
    const live = record !== undefined;
    const shown = (text) => (text === undefined ? "–" : plain(mask ? masked(text) : text));
    const parties = [shown(details.from), shown(details.to)];
    if (this.part("title").textContent !== parties.join(" → ")) {
      this.part("title").replaceChildren(...partyElements(...parties));
    }
    setText(this.part("state"), live ? COLUMNS.state.text(record, now) : endedText(details));
    const why = live ? reasons(record, now, limits) : [];
    this.part("why").hidden = why.length === 0;
    setText(this.part("why"), why.join("\n"));
    setText(this.part("call-id"), plain(details.call_id ?? ""));
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

  async copy() {
    const id = this.part("call-id").textContent;
    try {
      await navigator.clipboard.writeText(id);
      this.part("copied").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(this.part("call-id")); // the browser forbids writing
      this.part("copied").textContent = "Selected: press Ctrl-C";
    }
  }
}

function endedText(details) {
  if (details.outcome === undefined) return "ended, and no longer in memory";
  const text = endText(details, details);
  return text.startsWith("ended") ? text : `ended: ${text}`;
}

// The service's response for a call, without a timeline if it no longer knows the call; null if it
// cannot be reached, which the status bar shows.
async function fetchDetails(key) {
  try {
    const response = await fetch(`${STREAM_PATH}/${encodeURIComponent(key)}`, {
      cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.ok) return await response.json();
    return response.status === 404 ? { timeline: [] } : null;
  } catch {
    return null;
  }
}
