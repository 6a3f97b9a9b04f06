// The page's texts by key, in the language of its reader. A language is one file of text/languages/
// and one line here; a test compares the keys of all files.

import en from "./languages/en.js";

export const LANGUAGES = { en };
let current = en;

// Choose the first known one of `languages`, BCP 47 tags such as "it-CH", the most wanted first.
export function choose(languages) {
  const codes = languages.map((one) => one.toLowerCase().split("-")[0]);
  const code = codes.find((one) => Object.hasOwn(LANGUAGES, one)) ?? "en";
  current = LANGUAGES[code];
  return code;
}

// The text of a key, with each {name} replaced by `values[name]`.
export function t(key, values = {}) {
  const text = current[key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? values[name] : whole));
}
