// How long a trainer is dialled that does not answer, by a clock of the test's own.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Patience } from "../src/patience.js";

const { signal } = new AbortController();

/** Time that passes at once when somebody waits for it. */
class QuickClock {
  #nowS = 0;

  nowS = () => this.#nowS;

  after = (delayS, call) => {
    this.#nowS += delayS;
    call();
    return () => {};
  };
}

/** Seconds until nothing is dialled any more. */
async function untilOver(patience, clock) {
  const sinceS = clock.nowS();
  while (await patience.wait(signal));
  return Math.round(1e6 * (clock.nowS() - sinceS)) / 1e6;
}

for (const [heldS, leftS] of [
  [10, 0],
  [10.1, 5],
]) {
  test(`after a stream that held for ${heldS} s it is dialled for ${leftS} s of 5`, async () => {
    const clock = new QuickClock();
    const patience = new Patience(5, clock);
    assert.equal(await untilOver(patience, clock), 5);
    patience.noteStream();
    clock.after(heldS, () => {});
    assert.equal(await untilOver(patience, clock), leftS);
  });
}

test("a stream that broke soon is none that held, however long it is dialled then", async () => {
  const clock = new QuickClock();
  const patience = new Patience(60, clock);
  assert.ok(await patience.wait(signal));
  patience.noteStream();
  clock.after(3, () => {});
  assert.equal(await untilOver(patience, clock), 57);
});
