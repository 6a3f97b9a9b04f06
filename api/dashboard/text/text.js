// Texts: durations, times of day, masked numbers, and texts from outside made safe to show. Pure.

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
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : length(ms);
}

// Made once: to create one costs a hundred times its use.
const WHOLE = new Intl.NumberFormat("en");
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const whole = (number) => WHOLE.format(number);
export const percent = (number) => `${TENTHS.format(number)} %`;
export const timeOfDay = (ms) => (Math.abs(ms) <= 8.64e15 ? CLOCK.format(ms) : "\u2013"); // ECMA-262

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
