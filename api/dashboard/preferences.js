// What this browser's people have chosen; kept here, told to nobody.

import { COLUMNS } from "./columns.js";
import { LIMITS } from "./odd.js";
import { THRESHOLDS } from "./thresholds.js";

const KEY = "livestate";

const DEFAULTS = {
  columns: Object.keys(COLUMNS).filter((name) => !COLUMNS[name].off),
  density: "normal", // or compact
  theme: "auto", // or light, dark
  mask: false,
  oddFirst: true,
  sound: false,
  busiest: true,
  limits: LIMITS,
  thresholds: THRESHOLDS,
};

export function load(storage) {
  let kept = {};
  try {
    kept = JSON.parse(storage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    // written by something else, or storage is forbidden: the defaults
  }
  const chosen = { ...DEFAULTS, ...kept };
  chosen.columns = chosen.columns.filter((name) => Object.hasOwn(COLUMNS, name));
  if (chosen.columns.length === 0) chosen.columns = DEFAULTS.columns;
  chosen.limits = { ...DEFAULTS.limits, ...kept.limits };
  chosen.thresholds = { ...DEFAULTS.thresholds, ...kept.thresholds };
  return chosen;
}

export function save(storage, chosen) {
  try {
    storage.setItem(KEY, JSON.stringify(chosen));
  } catch {
    // full or forbidden: it lasts as long as the page
  }
}
