// The client while it waits: a trainer that is silent, two unanswered Steps, leaving. No sockets.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as errors from "../src/errors.js";
import { FIRST } from "../src/timesteps.js";
import { clientOf, rows, steps } from "./made_client.js";
import {
  ScriptedTrainer,
  act,
  answering,
  settled,
  standing,
  welcoming,
} from "./scripted_trainer.js";

test("after silence the trainer is asked, and waited for while it has the Step", async () => {
  let link;
  const slow = welcoming({}, (its) => (link = its));
  const trainer = new ScriptedTrainer([slow], (inquiry) =>
    inquiry.open(() => inquiry.say(standing(2))),
  );
  const { client, clock } = clientOf(trainer);
  const waiting = client.exchange(rows(FIRST));
  await clock.pass(29);
  assert.equal(trainer.inquiries.length, 0);
  await clock.pass(600);
  assert.equal(trainer.inquiries.length, 20);
  assert.ok(trainer.inquiries.every((each) => each.isClosed));
  assert.equal(trainer.links.length, 1);
  link.say(act(1, [{ behaviour: "point", stepType: [1, 1] }]));
  await waiting;
  assert.equal(clock.numTimers, 0);
});

for (const [words, inquire, delayS] of [
  ["has not got it", (inquiry) => inquiry.open(() => inquiry.say(standing(1))), 31],
  ["has answered it long ago", (inquiry) => inquiry.open(() => inquiry.say(standing(3))), 36],
  ["does not answer", (inquiry) => inquiry.open(() => {}), 36],
  ["is gone", undefined, 31],
]) {
  test(`a Step is sent again if the trainer ${words}, which takes twice as long the next time`, async () => {
    const mute = welcoming({}, () => {});
    const muteAgain = welcoming({ resumed: true }, () => {});
    const trainer = new ScriptedTrainer([mute, muteAgain, welcoming({ resumed: true })], inquire);
    const { client, clock } = clientOf(trainer);
    const waiting = client.exchange(rows(FIRST));
    await clock.pass(delayS);
    assert.equal(trainer.links.length, 2);
    await clock.pass(delayS);
    assert.equal(trainer.links.length, 2);
    await clock.pass(delayS);
    assert.equal(trainer.links.length, 3);
    await waiting;
  });
}

test("each time that a stream is given up for its silence, all of the time to dial is there again", async () => {
  const mute = (link) => welcoming({ resumed: trainer.links.length > 0 }, () => {})(link);
  const trainer = new ScriptedTrainer([mute]);
  const { client, clock } = clientOf(trainer, { silenceS: 4, reconnectS: 5 });
  const waiting = client.exchange(rows(FIRST));
  waiting.catch(() => {}); // it is never answered
  // The second silence is twice as long: more than the 5 seconds, and no stream that held for 10.
  await clock.pass(4 + 8 + 1);
  assert.equal(trainer.links.length, 3);
});

test("a trainer that does not say whether it has the Step is waited for", async () => {
  const trainer = new ScriptedTrainer([welcoming({}, () => {})], (inquiry) =>
    inquiry.fail(new errors.RefusedError("HTTP 404")),
  );
  const { client, clock } = clientOf(trainer);
  const waiting = assert.rejects(client.exchange(rows(FIRST)), errors.TrainerClosed);
  await clock.pass(100);
  assert.equal(trainer.links.length, 1);
  const leaving = client.close();
  await clock.pass(3);
  await Promise.all([waiting, leaving]);
});

test("two halves may be unanswered, and are sent again in their order", async () => {
  const held = welcoming({ maxUnanswered: 2 }, (link, step) => step.sequence === 2 && link.end());
  const trainer = new ScriptedTrainer([held, welcoming({ maxUnanswered: 2, resumed: true })]);
  const { client, clock } = clientOf(trainer, { maxUnansweredSteps: 2 });
  const half = (agent) => ({
    point: [{ agentId: agent, stepType: FIRST, observation: { place: agent } }],
  });
  await client.send(half(0));
  await client.send(half(1));
  await assert.rejects(client.send(half(2)), errors.OutOfTurnError);
  await assert.rejects(client.exchange(half(2)), errors.OutOfTurnError);
  const first = client.receive();
  await clock.pass(5);
  assert.deepEqual([...(await first).point][0].agentId, 0);
  assert.deepEqual([...(await client.receive()).point][0].agentId, 1);
  assert.deepEqual(
    steps(trainer.links[1]).map(({ step }) => step.sequence),
    [1, 2],
  );
  await assert.rejects(client.receive(), errors.OutOfTurnError);
});

test("a Step that is sent while the stream is dialled again goes out after those before it", async () => {
  const away = (link) => link.fail(new errors.BrokenStreamError("refused"));
  const fields = { maxUnanswered: 2 };
  const trainer = new ScriptedTrainer([
    welcoming(fields, (link) => link.end()),
    away,
    welcoming({ ...fields, resumed: true }),
  ]);
  const { client, clock } = clientOf(trainer, { maxUnansweredSteps: 2 });
  await client.send(rows(FIRST));
  const first = client.receive();
  first.catch(() => {}); // awaited below
  await settled();
  await settled();
  assert.equal(trainer.links.length, 2, "it waits before it dials again");
  await client.send({});
  await clock.pass(5);
  assert.equal((await first).point.length, 2);
  await client.receive();
  assert.equal(trainer.links.length, 3);
  assert.deepEqual(
    steps(trainer.links[2]).map(({ step }) => step.sequence),
    [1, 2],
  );
});

test("a resumed trainer that allows one Step is sent the second after the first Act", async () => {
  const held = welcoming({ maxUnanswered: 2 }, (link, step) => step.sequence === 2 && link.end());
  const trainer = new ScriptedTrainer([held, welcoming({ resumed: true }, () => {})]);
  const { client, clock } = clientOf(trainer, { maxUnansweredSteps: 2 });
  await client.send(rows(FIRST));
  await client.send({});
  const first = client.receive();
  await clock.pass(5);
  const link = trainer.links[1];
  assert.equal(steps(link).length, 1);
  answering(link, steps(link)[0].step);
  await first;
  assert.equal(steps(link).length, 2);
});

test("closing while an exchange waits says Goodbye and ends the wait", async () => {
  const trainer = new ScriptedTrainer([welcoming({}, () => {})]);
  const { client, clock } = clientOf(trainer);
  const waiting = assert.rejects(client.exchange(rows(FIRST)), {
    name: "TrainerClosed",
    message: /window/,
  });
  await settled();
  await client.close("the window was closed");
  await waiting;
  assert.equal(trainer.links[0].received.at(-1).goodbye, "the window was closed");
  assert.equal(clock.numTimers, 0);
  await client.close();
});

test("closing while it dials again ends the dialling", async () => {
  const away = (link) => link.fail(new errors.BrokenStreamError("refused"));
  const trainer = new ScriptedTrainer([away]);
  const { client, clock } = clientOf(trainer);
  const joining = assert.rejects(client.connect(), errors.TrainerClosed);
  await clock.pass(10);
  await client.close();
  await joining;
  assert.equal(clock.numTimers, 0);
  const dialled = trainer.links.length;
  await clock.pass(10);
  assert.equal(trainer.links.length, dialled);
});

test("closing while a Welcome is awaited ends the wait at once", async () => {
  const trainer = new ScriptedTrainer([(link) => link.open(() => {})]);
  const { client, clock } = clientOf(trainer);
  const joining = assert.rejects(client.connect(), errors.TrainerClosed);
  await settled();
  await client.close();
  await joining;
  assert.ok(trainer.links[0].isClosed);
  assert.equal(clock.numTimers, 0);
});

test("a trainer that is older than unanswered steps takes one at a time", async () => {
  const { client } = clientOf(new ScriptedTrainer([welcoming({ maxUnanswered: 0 })]), {
    maxUnansweredSteps: 2,
  });
  await client.exchange(rows(FIRST));
  assert.equal(client.maxUnansweredSteps, 1);
});
