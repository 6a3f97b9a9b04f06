// The drawer: one call's story, why it looks odd, and the ways on from it.

import { COLUMNS } from "./columns.js";
import { reasons } from "./odd.js";
import { gap, masked, timeOfDay } from "./text.js";

const AGAIN_MS = 1_000; // a call that changes often is not asked for more often than this
const FACTS = [
  ["Company", "company_id"], ["Direction", "direction"], ["Trunk", "trunk"], ["Attempt", "attempt"],
  ["Node", "node"], ["Response", "sip_code"], ["", "sip_reason"], ["Caused by", "by"],
  ["Outcome", "outcome"], ["Detail", "detail"], ["From", "from_uri"], ["To", "to_uri"],
];
const NUMBERS = new Set(["from_uri", "to_uri"]);

export class Drawer {
  // `clock()` is the server's time, ms; `look()` gives { mask, limits }.
  constructor(element, { clock, look, closed }) {
    this.element = element;
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.clock = clock;
    this.look = look;
    this.key = null;
    this.story = null;
    this.asked = -Infinity;
    this.version = null; // of the record that the story was asked for
    this.part("close").addEventListener("click", () => {
      this.close();
      closed();
    });
    this.part("copy").addEventListener("click", () => this.copy());
  }

  open(key) {
    this.key = key;
    this.story = null;
    this.version = null;
    this.asked = -Infinity;
    this.element.hidden = false;
    this.part("copied").textContent = "";
    this.part("timeline").replaceChildren();
    this.part("facts").replaceChildren();
  }

  close() {
    this.key = null;
    this.element.hidden = true;
  }

  // Twice a second: `record` is the call as the page has it, undefined when it is over.
  async tick(record, now) {
    if (this.key === null) return;
    if (this.story !== null) this.paint(record);
    const version = record?.v ?? "over";
    if (version === this.version || now - this.asked < AGAIN_MS) return;
    this.asked = now;
    const { key } = this;
    let told = null;
    try {
      const answer = await fetch(`/api/v1/live/calls/${encodeURIComponent(key)}`, {
        cache: "no-store", signal: AbortSignal.timeout(4_000),
      });
      if (answer.ok) told = await answer.json();
      else if (answer.status === 404) told = { timeline: [] };
    } catch {
      return; // the bar says that the service is away; asked again in a moment
    }
    if (this.key !== key || told === null) return;
    this.version = version;
    this.story = told;
    this.paint(record);
  }

  paint(record) {
    const { story } = this;
    const { mask, limits } = this.look();
    const now = this.clock();
    const who = (text) => (text === undefined ? "–" : mask ? masked(text) : text);
    set(this.part("title"), `${who(story.from)} → ${who(story.to)}`);
    set(this.part("state"), record ? COLUMNS.state.text(record, now) : over(story));
    const why = record ? reasons(record, now, limits) : [];
    this.part("why").hidden = why.length === 0;
    set(this.part("why"), why.map((reason) => `⚠ ${reason}`).join("\n"));
    set(this.part("call-id"), story.call_id ?? "");
    const { link } = story;
    this.part("link").hidden = link === undefined;
    if (link !== undefined) this.part("link").href = link;
    const lasts = this.element.querySelector(".lasts");
    if (lasts !== null) set(lasts, sinceLast(story, now, record));
    if (this.painted === story && this.masked === mask && (lasts !== null) === Boolean(record)) return;
    this.painted = story;
    this.masked = mask;
    this.part("timeline").replaceChildren(...steps(story, now, record));
    this.part("facts").replaceChildren(...facts(story, who));
  }

  async copy() {
    const id = this.part("call-id").textContent;
    try {
      await navigator.clipboard.writeText(id);
      this.part("copied").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(this.part("call-id")); // forbidden here: ready for Ctrl-C
      this.part("copied").textContent = "Selected: press Ctrl-C";
    }
  }
}

function over(story) {
  return story.outcome === undefined ? "over, and no longer remembered"
    : `✕ over: ${story.outcome.replaceAll("_", " ")}`;
}

function sinceLast(story, now, record) {
  const last = story.timeline.at(-1);
  return record && last ? `${gap(now - last.at)} since` : "";
}

function steps(story, now, record) {
  const made = story.timeline.map(({ phase, at }, index) => {
    const before = story.timeline[index - 1];
    return step(timeOfDay(at), phase.replaceAll("_", " "), before ? `+${gap(at - before.at)}` : "");
  });
  if (record && story.timeline.length > 0) {
    const lasts = step("now", "", sinceLast(story, now, record));
    lasts.lastElementChild.classList.add("lasts");
    made.push(lasts);
  }
  return made;
}

function step(time, phase, after) {
  const item = document.createElement("li");
  for (const [kind, text] of [["when", time], ["phase", phase], ["gap", after]]) {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = text;
    item.append(part);
  }
  return item;
}

function facts(story, who) {
  const made = [];
  for (const [title, name] of FACTS) {
    if (story[name] === undefined) continue;
    const term = document.createElement("dt");
    term.textContent = title;
    const told = document.createElement("dd");
    told.textContent = NUMBERS.has(name) ? who(story[name]) : String(story[name]);
    made.push(term, told);
  }
  return made;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
