// Calls that are under way at the same time: joining, sending, leaving.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as errors from "../src/errors.js";
import { FIRST, MID } from "../src/timesteps.js";
import { clientOf, rows } from "./made_client.js";
import { ScriptedTrainer, answering, settled, welcome, welcoming } from "./scripted_trainer.js";

/** A stream that never ends by itself: its Goodbye is waited for, for 2 seconds. */
const silent = (link) => link.open((_, message) => message.hello && link.say(welcome()));

/** What was said on each stream. */
const said = ({ links }) =>
  links.map(({ received }) => received.map((message) => Object.keys(message)[0]));

test("a client that joins anew before its Goodbye was answered keeps the new session's Step", async () => {
  let newer;
  const trainer = new ScriptedTrainer([
    silent,
    welcoming({ sessionId: "s2" }, (link, step) => (newer = { link, step })),
  ]);
  const { client, clock } = clientOf(trainer);
  const first = assert.rejects(client.exchange(rows(FIRST)), errors.TrainerClosed);
  await clock.pass(1);
  const closing = client.close();
  await client.connect();
  const second = client.exchange(rows(FIRST));
  second.catch(() => {});
  await clock.pass(3);
  await first;
  await closing;
  await assert.rejects(client.receive(), errors.OutOfTurnError);
  answering(newer.link, newer.step);
  await settled();
  assert.equal((await second).point.length, 2);
  const third = client.exchange(rows(MID));
  await settled();
  answering(newer.link, newer.step);
  assert.equal((await third).point.length, 2);
});

test("rows that are sent while the client joins wait for that", async () => {
  const trainer = new ScriptedTrainer([welcoming()]);
  const { client } = clientOf(trainer);
  const joining = client.connect();
  joining.catch(() => {});
  const { point } = await client.exchange(rows(FIRST));
  assert.equal(point.length, 2);
  assert.equal((await joining).sessionId, "s1");
  assert.equal(trainer.links.length, 1);
});

test("two halves that are sent at once join once", async () => {
  const trainer = new ScriptedTrainer([welcoming({ maxUnanswered: 2 })]);
  const { client } = clientOf(trainer, { maxUnansweredSteps: 2 });
  await Promise.all([client.send(rows(FIRST)), client.send({})]);
  assert.equal((await client.receive()).point.length, 2);
  await client.receive();
  assert.equal(trainer.links.length, 1);
});

test("leaving ends a join that still waits for the Goodbye before it", async () => {
  const trainer = new ScriptedTrainer([silent, welcoming({ sessionId: "s2" })]);
  const { client, clock } = clientOf(trainer);
  await client.connect();
  const again = assert.rejects(client.connect(), errors.TrainerClosed);
  await settled();
  const closing = client.close();
  await clock.pass(3);
  await Promise.all([again, closing]);
  assert.deepEqual(said(trainer), [["hello", "goodbye"]]);
});

test("of two joins one after the other the second counts, and one session begins", async () => {
  const trainer = new ScriptedTrainer([silent, welcoming({ sessionId: "s2" })]);
  const { client, clock } = clientOf(trainer);
  await client.connect();
  const first = assert.rejects(client.connect(), errors.TrainerClosed);
  const second = client.connect();
  await clock.pass(3);
  await first;
  assert.equal((await second).sessionId, "s2");
  assert.deepEqual(said(trainer), [["hello", "goodbye"], ["hello"]]);
});

for (const [what, befall] of [
  ["a break", (link) => link.end()],
  ["an Act", answering],
]) {
  test(`a join just after ${what} is one join, whatever of that was dealt with`, async () => {
    for (let turns = 0; turns < 8; turns += 1) {
      let latest;
      const trainer = new ScriptedTrainer([
        welcoming({}, (link, step) => (latest = [link, step])),
        welcoming({ sessionId: "s2" }),
      ]);
      const { client, clock } = clientOf(trainer);
      const waiting = client.exchange(rows(FIRST)).catch((error) => error);
      await settled();
      befall(...latest);
      for (let turn = 0; turn < turns; turn += 1) await null;
      const joining = client.connect();
      await clock.pass(3);
      const outcome = await waiting;
      const hasActions = what === "an Act" && outcome.point?.length === 2;
      assert.ok(hasActions || outcome instanceof errors.TrainerClosed, String(outcome));
      assert.equal((await joining).sessionId, "s2");
      assert.equal((await client.exchange(rows(FIRST))).point.length, 2);
      const hellos = trainer.links.flatMap(({ received }) => received).filter(({ hello }) => hello);
      // Dialling may have begun before; its Hello was not sent then.
      assert.deepEqual(
        hellos.map(({ hello }) => hello.resume),
        ["", ""],
        `after ${turns} turns`,
      );
    }
  });
}
