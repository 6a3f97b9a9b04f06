// A stream through our own library for JavaScript: node livestate-client.mjs URL TOKEN. Prints one
// line an event (name, last event id, data, with tabs between), and with each heartbeat the table.

import { LiveCalls } from "../../../clients/js/src/livestate.js";

const [url, token] = process.argv.slice(2);

function print(...fields) {
  process.stdout.write(`${fields.join("\t")}\n`);
}

class Printed extends LiveCalls {
  receive(name, data, id) {
    const right = super.receive(name, data, id);
    print(name, id, JSON.stringify(data));
    const { calls, digest, divergences } = this.fold;
    if (name === "heartbeat") {
      const table = { calls: Object.fromEntries(calls), digest, diverged: divergences };
      print("#table", this.fold.id, JSON.stringify(table));
    }
    return right;
  }
}

new Printed(url, { token }).start();
