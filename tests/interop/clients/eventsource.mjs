// A stream through the npm package "eventsource", any version: node eventsource.mjs PACKAGE URL TOKEN.
// It reconnects by itself. Prints one line an event: name, last event id, data, with tabs between.

const [name, url, token] = process.argv.slice(2);
const module = await import(name);
const EventSource = module.EventSource ?? module.default;
const headers = { Authorization: `Bearer ${token}` };
const source = new EventSource(url, {
  headers, // version 2; later ones have a fetch instead
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
});

function print(...fields) {
  process.stdout.write(`${fields.join("\t")}\n`);
}

for (const kind of ["snapshot", "diff", "heartbeat", "kpi", "goodbye", "message"]) {
  source.addEventListener(kind, ({ lastEventId, data }) => print(kind, lastEventId, data));
}
source.addEventListener("open", () => print("#open"));
source.addEventListener("error", ({ code, status, message }) => {
  print("#error", code ?? status ?? "", message ?? "");
  if (source.readyState === 2) process.exit(1); // it gave up for good
});
