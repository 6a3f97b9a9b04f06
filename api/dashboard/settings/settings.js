// The settings dialog: the preferences of this browser.

import { forgetLanguage } from "../address.js";
import { byId } from "../elements.js";
import { LANGUAGES } from "../text/catalogue.js";

const SWITCHES = ["mask", "anomaliesFirst", "sound", "utc"];
const CHOICES = ["theme", "density"];

// `preferences` is changed in place; `changed()` is called after each change.
export function showSettings(preferences, changed) {
  byId("set-language").append(...Object.keys(LANGUAGES).map(languageOption));
  listen("set-language", "value", preferences.language, (code) => { preferences.language = code; });
  // Texts are read once: another language loads the page anew, with the same view.
  byId("set-language").addEventListener("change", () => {
    forgetLanguage();
    location.reload();
  });
  for (const name of SWITCHES) {
    listen(`set-${name}`, "checked", preferences[name], (on) => { preferences[name] = on; });
  }
  for (const name of CHOICES) {
    listen(`set-${name}`, "value", preferences[name], (value) => { preferences[name] = value; });
  }
  for (const name of ["ringing", "talking"]) {
    listen(`set-${name}`, "value", preferences.limits[name], (value) => {
      if (Number(value) > 0) preferences.limits[name] = Number(value);
    });
  }

  function listen(id, property, value, take) {
    byId(id)[property] = value;
    byId(id).addEventListener("change", () => {
      take(byId(id)[property]);
      changed();
    });
  }
}

// A language by its own name, which its readers find in a list of any language.
function languageOption(code) {
  const name = new Intl.DisplayNames(code, { type: "language" }).of(code);
  return Object.assign(document.createElement("option"), {
    value: code, lang: code, textContent: name[0].toLocaleUpperCase(code) + name.slice(1),
  });
}
