// The values of a filter in the page's address, and in what the page asks of the service
// (api/http/listed.py): a comma stands between two of them. One that is part of a name, as in
// "Rossi, Sons", has a backslash before it, and so has a backslash itself. Pure.
//
// Any other backslash is the character, so names with one keep working in addresses of before.

export const written = (value) => value.replace(/\\(?=[\\,]|$)|,/g, "\\$&");

export function valuesIn(text) {
  const values = [""];
  for (const [part] of text.matchAll(/\\[\\,]|[^]/g)) {
    if (part === ",") values.push("");
    else values[values.length - 1] += part.length > 1 ? part[1] : part;
  }
  return values;
}
