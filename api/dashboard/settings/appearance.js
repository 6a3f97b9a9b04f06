// How the page looks: preferences of this browser, wall mode and a narrow screen.

import { byId } from "../elements.js";
import { NARROW, OFF_THE_WALL } from "../table/columns.js";
import { setUtc } from "../text/text.js";

const narrow = matchMedia("(max-width: 800px)");

export const isWall = () => document.documentElement.classList.contains("wall");

export function toggleWall() {
  const on = document.documentElement.classList.toggle("wall");
  byId("wall").setAttribute("aria-pressed", String(on));
}

export function onScreenChange(changed) {
  narrow.addEventListener("change", changed);
}

// `preferences`: see preferences.js. A login of one company (`ofCompany`) needs no company column.
export function apply(preferences, ofCompany, { table, attention, columns }) {
  const { density, mask, sound, theme, topTalkers, utc } = preferences;
  setUtc(utc);
  document.documentElement.dataset.theme = theme;
  document.body.dataset.density = density;
  document.body.classList.toggle("no-top-talkers", !topTalkers);
  byId("show-top-talkers").setAttribute("aria-pressed", String(topTalkers));
  byId("set-mask").checked = mask;
  // A browser lets a page play sound only after a click in it.
  attention.setSound(sound && navigator.userActivation?.hasBeenActive === true);
  table.mask = mask;
  table.listing.anomaliesFirst = preferences.anomaliesFirst;
  if (narrow.matches) {
    table.setColumns(Object.keys(NARROW), Object.values(NARROW));
  } else {
    const without = new Set([...(ofCompany ? ["company"] : []), ...(isWall() ? OFF_THE_WALL : [])]);
    const names = columns.names.filter((column) => !without.has(column));
    table.setColumns(names, columns.widths(names));
  }
  table.rebuild();
}
