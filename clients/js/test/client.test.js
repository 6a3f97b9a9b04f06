import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

import { Fold, Parser } from "../src/livestate.js";
import { run } from "./driver.js";

const vectors = async (name) =>
  JSON.parse(await readFile(new URL(`../../../tests/vectors/${name}.json`, import.meta.url)));

for (const vector of await vectors("client")) {
  test(vector.name, async () => {
    const { waits, ...found } = await run(vector);
    const { asked, states, calls, id, left = {} } = vector;
    assert.deepEqual(found, { asked, states, left, calls, id });
    for (const [number, least] of (vector.waited_ms ?? []).entries()) {
      assert.ok(waits[number] >= least, `waited ${waits[number]} ms of ${least}`);
    }
  });
}

for (const vector of await vectors("fold")) {
  test(`fold: ${vector.name}`, () => {
    const fold = new Fold();
    for (const [name, data, id] of vector.frames) fold.apply(name, data, id ?? "");
    assert.deepEqual(Object.fromEntries(fold.calls), vector.calls);
    assert.equal(fold.digest, vector.digest);
    assert.equal(fold.id, vector.id ?? "");
  });
}

for (const vector of await vectors("sse")) {
  for (const size of [1, 2, 3, 1_000]) {
    test(`parser, ${size} bytes a piece: ${vector.name}`, () => {
      const bytes = new TextEncoder().encode(vector.bytes);
      const decoder = new TextDecoder();
      const parser = new Parser();
      const found = [];
      for (let at = 0; at < bytes.length; at += size) {
        found.push(...parser.feed(decoder.decode(bytes.slice(at, at + size), { stream: true })));
      }
      assert.deepEqual(found.map(({ name, data, id }) => [name, data, id]), vector.events);
    });
  }
}
