// The page's texts by key, in the language of its reader.
//
// A language is one file of text/languages/, with an import and its name here; tests compare the keys
// and placeholders of all files, and the service reads the same files (api/texts.py). The language is
// chosen once, when the page loads: texts in constants need no second one. Another choice reloads.

import en from "./languages/en.js";
import it from "./languages/it.js";

export const LANGUAGES = { en, it };
const FALLBACK = "en";
const ATTRIBUTES = ["title", "aria-label", "placeholder"];

let code = FALLBACK;
let current = en;
let plurals = new Intl.PluralRules(FALLBACK);

// Choose the first known one of `languages`, BCP 47 tags such as "it-CH", the most wanted first.
// Returns its code.
export function choose(languages) {
  const codes = languages.map((one) => String(one).toLowerCase().split("-")[0]);
  code = codes.find((one) => Object.hasOwn(LANGUAGES, one)) ?? FALLBACK;
  current = LANGUAGES[code];
  plurals = new Intl.PluralRules(code);
  return code;
}

// The code of the language chosen.
export const language = () => code;

// The header of requests whose refusal a person reads: the service writes it in the language chosen.
export const wantsLanguage = () => ({ "Accept-Language": code });

// How numbers and dates are written: in the language chosen, of the reader's country if the browser
// says which.
export const locale = () => wantedByBrowser().find((one) => one.split("-")[0] === code) ?? code;

const wantedByBrowser = () => globalThis.navigator?.languages ?? [];

// `lang=it` in the address, as a wall has it; then the setting of this browser; then the browser's
// own languages.
function wanted() {
  const search = globalThis.location?.search ?? "";
  return [new URLSearchParams(search).get("lang"), stored(), ...wantedByBrowser()].filter(Boolean);
}

// The language of preferences.js, which itself imports texts.
function stored() {
  try {
    return JSON.parse(localStorage.getItem("livestate") ?? "{}")?.language ?? null;
  } catch {
    return null; // not JSON, or the browser forbids storage
  }
}

// The text of a key, with each {name} replaced by `values[name]`.
export function t(key, values = {}) {
  return fill(current[key] ?? en[key] ?? key, values);
}

// The text for `number` things: of `key.one`, `key.other` or another plural category of the language.
export function plural(key, number, values = {}) {
  const wantedKey = `${key}.${plurals.select(number)}`;
  const text = current[wantedKey] ?? current[`${key}.other`] ?? en[`${key}.other`] ?? key;
  return fill(text, values);
}

const fill = (text, values) => text.replace(
  /\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? values[name] : whole),
);

// Whether there is a text of this key: names from outside may have none.
export const has = (key) => Object.hasOwn(en, key);

// All texts below a prefix: { rest of the key: text }.
export function section(prefix) {
  const keys = Object.keys(en).filter((key) => key.startsWith(prefix));
  return Object.fromEntries(keys.map((key) => [key.slice(prefix.length), t(key)]));
}

// Write the texts of a document: `data-t` names the text of an element, `data-t-title` and the like
// that of an attribute. The service has written them in the language that the request preferred.
export function translate(root) {
  document.documentElement.lang = code;
  for (const element of root.querySelectorAll("[data-t]")) {
    const text = t(element.dataset.t);
    if (element.textContent !== text) element.textContent = text;
  }
  for (const name of ATTRIBUTES) {
    for (const element of root.querySelectorAll(`[data-t-${name}]`)) {
      element.setAttribute(name, t(element.getAttribute(`data-t-${name}`)));
    }
  }
}

choose(wanted());
