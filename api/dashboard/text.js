// How things are said: lengths, times of day, numbers that not everybody in the room may read. Pure.

const two = (number) => String(number).padStart(2, "0");

export function length(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

// Between two steps of a call: tenths while they matter.
export function gap(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : length(ms);
}

// Made once: to make one costs a hundred times what it costs to use it.
const WHOLE = new Intl.NumberFormat("en");
const TENTHS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const whole = (number) => WHOLE.format(number);
export const percent = (number) => `${TENTHS.format(number)} %`;
export const timeOfDay = (ms) => CLOCK.format(ms);

// Country and area stay, who it is does not: from the fifth sign on, all but the punctuation.
export function masked(number) {
  let kept = 4;
  return number.replace(/[\p{L}\p{N}]/gu, (sign) => (kept-- > 0 ? sign : "•"));
}
