// Runs the library against the responses of a vector of tests/vectors/client.json, on a clock that
// the driver moves. Runs in Node.js (client.test.js) and in a browser (tests/page/test_vectors.py).

import { FetchEventSource, LiveCalls, program } from "../src/livestate.js";

const URL_OF_STREAM = "https://noc.example/api/v1/live/calls";
const STEP_MS = 250;
const MOST_STEPS = 400;

export async function run({ responses }) {
  let time = 0;
  let act = () => {};
  const asked = [];
  const waits = [];
  const states = [];
  const left = {};
  let endedAt = null;

  async function fetch(address, { signal }) {
    const query = new URL(address).searchParams;
    const response = responses[asked.length];
    asked.push(query.get("last_event_id") ?? "");
    if (endedAt !== null) waits.push(time - endedAt);
    const { status = 200, type = "text/event-stream; charset=utf-8", body, then } = response;
    const bytes = new TextEncoder().encode(body);
    let at = 0;
    const stream = new ReadableStream({
      pull(controller) {
        if (at < bytes.length) {
          controller.enqueue(bytes.slice(at, at + 7)); // cuts characters and lines too
          at += 7;
          return undefined;
        }
        endedAt = time;
        if (then === "end") controller.close();
        else if (then === "cut") controller.error(new TypeError("network error"));
        else {
          return new Promise((resolve) => {
            signal.addEventListener("abort", () => {
              controller.error(signal.reason);
              resolve(undefined);
            });
          });
        }
        return undefined;
      },
    });
    return new Response(stream, { status, headers: { "Content-Type": type } });
  }

  const platform = {
    ...program(URL_OF_STREAM, "token"),
    now: () => time,
    random: () => 0,
    every(_, look) {
      act = look;
      return () => {};
    },
    eventSource: (address) => new FetchEventSource(address, undefined, fetch),
    session: () => Promise.reject(new Error("not asked")),
  };
  const live = new LiveCalls(URL_OF_STREAM, {
    platform,
    onState: (state) => states.push(state),
    onChange(change) {
      if (change === "all") return;
      for (const [key] of change.removed) left[key] = change.ended[key]?.outcome ?? "moved";
    },
  }).start();
  // Until all responses are asked for, and then until nothing changes any more.
  for (let step = 0, quiet = 0; quiet < 8; step += 1) {
    if (step > MOST_STEPS) throw new Error(`only ${asked.length} requests`);
    const before = JSON.stringify([asked, states, live.fold.id]);
    await new Promise((resolve) => setTimeout(resolve, 1)); // all that is ready to be read
    const same = before === JSON.stringify([asked, states, live.fold.id]);
    quiet = same && asked.length === responses.length ? quiet + 1 : 0;
    if (same && quiet === 0) {
      time += STEP_MS;
      act();
    }
  }
  live.stop();
  return { asked, waits, states, left, calls: Object.fromEntries(live.calls), id: live.fold.id };
}
