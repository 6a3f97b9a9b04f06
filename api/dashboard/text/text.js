// Texts: durations, times of day, numbers, masked numbers, and texts from outside made safe to show.
//
// Numbers are written as the language of the page writes them. Times are of 24 hours with their zone,
// and with the date (ISO 8601) if they are not of today: a call may have begun yesterday.

import { locale, plural } from "./catalogue.js";

const two = (number) => String(number).padStart(2, "0");

// A duration as mm:ss or h:mm:ss.
export function length(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

// A short duration, with tenths below a minute.
export function gap(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  return ms < 60_000 ? `${tenths(ms / 1000)} s` : length(ms);
}

// Made once: to create one costs a hundred times its use.
const LANGUAGE = locale();
const WHOLE = new Intl.NumberFormat(LANGUAGE);
const TENTHS = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 1 });
const ONE_TENTH = new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const COUNTRIES = new Intl.DisplayNames([LANGUAGE], { type: "region", fallback: "code" });

// The name of a country, ISO 3166-1.
export const countryName = (code) => COUNTRIES.of(code);
export const whole = (number) => WHOLE.format(number);
export const percent = (number) => `${TENTHS.format(number)} %`;
export const tenths = (number) => ONE_TENTH.format(number);

// The text for `number` things, with the number as {count}; see `plural`.
export const counted = (key, number, values = {}) =>
  plural(key, number, { count: whole(number), ...values });

// The formats of one zone: `timeZone` is undefined for the browser's own. Swedish writes a date as
// ISO 8601 does.
const formats = (timeZone) => ({
  date: new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short" }),
  clock: new Intl.DateTimeFormat("en-GB", { timeZone, timeStyle: "medium" }),
  zone: new Intl.DateTimeFormat("en-GB", { timeZone, timeZoneName: "short" }),
});
const LOCAL = formats(undefined);
const UTC = formats("UTC");
let shownZone = LOCAL;

// Write all times in UTC, as the logs of most SIP nodes do, or in the browser's zone.
export function setUtc(on) {
  shownZone = on ? UTC : LOCAL;
}

// Whether the page writes times in UTC. After a change it writes all times again.
export const isUtc = () => shownZone === UTC;

// A time with its zone: "14:03:22 CET", or "2026-11-26 23:59:02 CET" if it is not of the day of `now`.
// Both are ms since the epoch.
export function timeOfDay(ms, now = Date.now()) {
  if (!(Math.abs(ms) <= 8.64e15)) return "\u2013"; // ECMA-262: beyond what a Date can hold
  const { date, clock, zone } = shownZone;
  const zoneName = zone.formatToParts(ms).find(({ type }) => type === "timeZoneName").value;
  const day = date.format(ms);
  return `${day === date.format(now) ? "" : `${day} `}${clock.format(ms)} ${zoneName}`;
}

// Characters that are invisible, or that move the text beside them:
// - controls (C0, C1), formats (bidi overrides and isolates, zero width, soft hyphen), separators of
//   lines, halves of a pair, private use;
// - those that fonts draw nothing for (Default_Ignorable_Code_Point: tags, variation selectors, fillers
//   such as U+3164 and U+FFA0), and the blank of Braille, U+2800. The selector after an emoji only
//   chooses its colours, so it stays;
// - more than three combining marks on one letter, which cover the lines above and below, and a mark
//   without a letter, which would stand on the text before it.
const INVISIBLE = /(?<!\p{Extended_Pictographic})[\uFE0E\uFE0F]|(?![\uFE0E\uFE0F])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{DI}\u2800]|(?<=[\p{Mn}\p{Me}]{3}|^|")[\p{Mn}\p{Me}]/gu;
const VISIBLE = /[\u0600-\u0605\u06DD\u070F\u0890\u0891\u08E2\u{110BD}\u{110CD}]/u; // formats that fonts draw

const sign = (invisible) => {
  const code = invisible.codePointAt(0);
  if (VISIBLE.test(invisible)) return invisible;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code); // its symbol: U+2400 SYMBOL FOR NULL …
  return code === 0x7f ? "\u2421" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
};

// A text from outside as it can be shown: each invisible character becomes a visible sign.
export const plain = (text) => String(text).replace(INVISIBLE, sign);

// The same for JSON: escapes, which a program reads as the original characters.
export const escaped = (text) => text.replace(INVISIBLE, (invisible) => {
  const code = invisible.codePointAt(0);
  if (code === 0x0a || VISIBLE.test(invisible)) return invisible; // line ends of the layout
  return Array.from(
    { length: invisible.length },
    (_, at) => `\\u${invisible.charCodeAt(at).toString(16).padStart(4, "0")}`,
  ).join("");
});

// Hide a number: letters and digits from the fifth on become dots; country and area stay.
export function masked(number) {
  let kept = 4;
  return number.replace(/[\p{L}\p{N}]/gu, (sign) => (kept-- > 0 ? sign : "•"));
}
