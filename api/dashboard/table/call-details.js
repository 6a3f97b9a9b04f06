// The elements of the drawer: the parties, the timeline and the fields of one call.
//
// `details` is the service's response for one call: its record with a `timeline` of { phase, at }.

import { codeView, makeLink } from "../links.js";
import { t } from "../text/catalogue.js";
import { countryName, gap, plain, timeOfDay } from "../text/text.js";
import { phaseText } from "./endings.js";
import { STATES } from "./filters.js";
import { isPoor, qualityText } from "./quality.js";

const FIELDS = [
  "company_id", "direction", "trunk", "attempt", "node", "sip_code", "sip_reason", "by", "outcome",
  "detail", "from_uri", "to_uri",
];
// The fields that are links to the calls with the same value.
const LINKED = new Set(["company_id", "direction", "trunk", "node"]);
const URIS = new Set(["from_uri", "to_uri"]);

// Each party is isolated: right-to-left letters must not swap caller and callee.
export function partyElements(from, to) {
  const [caller, callee] = [from, to].map(
    (text) => Object.assign(document.createElement("bdi"), { textContent: text }),
  );
  return [caller, " → ", callee];
}

// Time since the last step of a live call; empty for an ended one. `now`: ms since the epoch.
export function sinceLastStep({ timeline }, now, live) {
  const last = timeline.at(-1);
  return live && last ? t("drawer.since", { time: gap(now - last.at) }) : "";
}

export function timelineItems({ timeline }, now, live) {
  const items = timeline.map(({ phase, at }, index) => {
    const previous = timeline[index - 1];
    const after = previous ? `+${gap(at - previous.at)}` : "";
    return timelineItem(timeOfDay(at, now), phaseText(phase), after);
  });
  if (live && timeline.length > 0) {
    const item = timelineItem(t("drawer.now"), "", sinceLastStep({ timeline }, now, live));
    item.lastElementChild.classList.add("since-last");
    items.push(item);
  }
  return items;
}

function timelineItem(time, phase, after) {
  const item = document.createElement("li");
  for (const [className, textContent] of [["when", time], ["phase", phase], ["gap", after]]) {
    item.append(Object.assign(document.createElement("span"), { className, textContent }));
  }
  return item;
}

// `maskUri` makes a SIP URI readable or hides it.
export function fieldItems(details, maskUri) {
  return numberItems(details, maskUri).concat(qualityItems(details), otherItems(details, maskUri));
}

function qualityItems(details) {
  const text = qualityText(details);
  if (text === "") return [];
  return [
    Object.assign(document.createElement("dt"), { textContent: t("field.quality") }),
    Object.assign(document.createElement("dd"), {
      className: isPoor(details) ? "poor" : "", textContent: text, title: t("field.quality_title"),
    }),
  ];
}

// The parties' numbers as they are written internationally, with the country.
function numberItems({ numbers = {} }, mask) {
  return ["from", "to"].filter((name) => numbers[name] !== undefined).flatMap((name) => {
    const { text, country } = numbers[name];
    const where = country === null ? "" : ` · ${countryName(country)}`;
    return [
      Object.assign(document.createElement("dt"), { textContent: t(`field.${name}_number`) }),
      Object.assign(document.createElement("dd"), { textContent: `${mask(text)}${where}` }),
    ];
  });
}

function otherItems(details, maskUri) {
  return FIELDS.filter((name) => details[name] !== undefined).flatMap((name) => {
    const title = name === "sip_reason" ? "" : t(`field.${name}`); // it stands below its code
    const text = URIS.has(name) ? maskUri(details[name]) : plain(details[name]);
    const value = document.createElement("dd");
    if (LINKED.has(name)) value.append(makeLink({ [name]: details[name] }, details[name], t("links.calls_of", { name: text })));
    else if (name === "sip_code") value.append(codeLink(details));
    else value.textContent = text;
    return [Object.assign(document.createElement("dt"), { textContent: title }), value];
  });
}

// The last SIP response of a call, as a link: of an ended call to those that it ended just now.
function codeLink({ sip_code: code, state }) {
  const changes = codeView(code, !Object.hasOwn(STATES, state));
  return makeLink(changes, code, t(changes.panel ? "failures.show_ended" : "links.calls_of", { code, name: code }));
}
