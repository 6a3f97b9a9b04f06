// The preferences of this browser, in its local storage; the service never receives them.

import { COLUMNS } from "../table/columns.js";
import { USUAL, soundWidths } from "./column-choice.js";
import { LIMITS } from "../table/anomalies.js";

const KEY = "livestate";

const DEFAULTS = {
  columns: USUAL, // in their order
  widths: {}, // column → its width in rem, for those that the user has changed
  density: "normal", // or compact
  theme: "auto", // or light, dark
  language: "", // the code of one, see text/catalogue.js; empty: the browser's
  mask: false,
  anomaliesFirst: true,
  sound: false,
  utc: false,
  topTalkers: true,
  limits: LIMITS,
};

const FORMER_RINGING = 60;

const RENAMED = { oddFirst: DEFAULTS.anomaliesFirst, busiest: DEFAULTS.topTalkers };

export function load(storage) {
  let stored = {};
  try {
    stored = JSON.parse(storage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    // not JSON, or the browser forbids storage: the defaults
  }
  // `oddFirst` and `busiest` are earlier names.
  const { oddFirst: anomaliesFirst, busiest: topTalkers } = { ...RENAMED, ...stored };
  const preferences = { ...DEFAULTS, anomaliesFirst, topTalkers, ...stored };
  preferences.columns = preferences.columns.filter((name) => Object.hasOwn(COLUMNS, name));
  if (preferences.columns.length === 0) preferences.columns = DEFAULTS.columns;
  preferences.widths = soundWidths(stored.widths);
  preferences.limits = { ...DEFAULTS.limits, ...stored.limits };
  // The former default, which every browser that ever saved a preference has stored.
  if (preferences.limits.ringing === FORMER_RINGING) preferences.limits.ringing = LIMITS.ringing;
  return preferences;
}

export function save(storage, preferences) {
  try {
    storage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // full or forbidden: the preferences last as long as the page
  }
}
