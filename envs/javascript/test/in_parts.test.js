// A promise that is waited for in parts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { InParts } from "../src/in_parts.js";
import { FakeClock } from "./scripted_trainer.js";

test("a thousand waits leave one thing at the promise, and no timer", async () => {
  const clock = new FakeClock();
  let settle;
  const promise = new Promise((resolve) => (settle = resolve));
  let looks = 0;
  const then = promise.then.bind(promise);
  promise.then = (...given) => {
    looks += 1;
    return then(...given);
  };
  const answer = new InParts(promise);
  for (let part = 0; part < 1000; part += 1) {
    const waiting = answer.within(0.05, clock);
    await clock.pass(0.05);
    assert.equal(await waiting, null);
  }
  assert.equal(looks, 1);
  const waiting = answer.within(0.05, clock);
  settle("here");
  assert.equal(await waiting, "here");
  assert.equal(await answer.within(0.05, clock), "here");
  assert.equal(clock.numTimers, 0);
});

test("what rejects the promise is told to who waits, and is no fault while nobody does", async () => {
  const clock = new FakeClock();
  const answer = new InParts(Promise.reject(new RangeError("lost")));
  await clock.pass(1);
  await assert.rejects(answer.within(1, clock), RangeError);
});
