// The client against a scripted trainer: joining, resuming, refusals, what goes beside rows. No sockets.

import assert from "node:assert/strict";
import { test } from "node:test";

import { withTrainer } from "../src/client.js";
import { answered } from "../src/endings.js";
import * as errors from "../src/errors.js";
import { FrameReader } from "../src/frames.js";
import { run } from "../src/run.js";
import { FIRST, MID, TERMINATED, TRUNCATED } from "../src/timesteps.js";
import { FOX, POINT, breakingAfter, clientOf, rows, steps } from "./made_client.js";
import {
  ScriptedTrainer,
  act,
  answering,
  close,
  refusal,
  welcome,
  welcoming,
} from "./scripted_trainer.js";

const COMPLETED = 1;
const STOPPED = 2;

test("actions come back by behaviour, for the rows that need one", async () => {
  const trainer = new ScriptedTrainer([welcoming({ seed: 9n })]);
  const { client } = clientOf(trainer);
  assert.equal((await client.connect()).seed, 9n);
  const { point } = await client.exchange(rows([TERMINATED, FIRST]));
  assert.deepEqual(
    [...point].map(({ agentId, continuous }) => [agentId, ...continuous]),
    [[1, 0]],
  );
  assert.equal(point.policyVersion, 7);
  await client.exchange(rows(MID));
  assert.deepEqual(
    steps(trainer.links[0]).map(({ step }) => step.sequence),
    [1, 2],
  );
});

test("a client joins by itself, and its Hello says who it is", async () => {
  const trainer = new ScriptedTrainer([welcoming()]);
  const { client } = clientOf(trainer);
  await client.exchange(rows(FIRST));
  const { hello } = trainer.links[0].received[0];
  assert.equal(hello.simulator, "sim");
  assert.match(hello.instanceId, /^[0-9a-f]{32}$/);
  assert.equal(hello.resume, "");
});

test("a simulator for evaluations says so in each Hello, any other does not", async () => {
  const trainer = new ScriptedTrainer([
    breakingAfter(1, { revision: 3 }),
    welcoming({ revision: 3, resumed: true }),
  ]);
  const { client, clock } = clientOf(trainer, { role: "evaluation" });
  await client.exchange(rows(FIRST));
  const waiting = client.exchange(rows(MID));
  await clock.pass(5);
  await waiting;
  assert.deepEqual(
    trainer.links.map(({ received }) => received[0].hello.role),
    [1, 1],
  );
  const other = new ScriptedTrainer([welcoming()]);
  await clientOf(other).client.connect();
  assert.equal(other.links[0].received[0].hello.role, 0);
});

test("a trainer that knows of no roles is left at once, for it would learn", async () => {
  const trainer = new ScriptedTrainer([welcoming({ revision: 2 })]);
  const { client } = clientOf(trainer, { role: "evaluation" });
  await assert.rejects(client.connect(), (error) => {
    assert.ok(error instanceof errors.MisfitError);
    return /revision 2, which would learn from this simulator.*revision 3 or later/.test(error);
  });
  const [, { goodbye }] = trainer.links[0].received;
  assert.equal(goodbye, "the trainer knows of no roles");
});

test("rows that a world forgot to return are asked for, in time or not", async () => {
  for (const deadline of [{}, { deadlineMs: 50, fallback: "neutral" }]) {
    for (const [returned, words] of [
      [undefined, "undefined came"],
      [[], "a list came"],
      [{ point: undefined }, "no rows in it came"],
    ]) {
      const trainer = new ScriptedTrainer([welcoming({ revision: 3 })]);
      const { client } = clientOf(trainer, {}, undefined, [{ ...POINT, ...deadline }]);
      const world = { reset: () => returned, step: () => returned };
      await assert.rejects(run(world, client), (error) => {
        assert.ok(error instanceof errors.SpecError, String(error));
        return error.message.includes(words);
      });
    }
  }
});

test("names with a typing mistake are refused, and what is meant is named", () => {
  const make = (options, spec) => () =>
    clientOf(new ScriptedTrainer([]), options, undefined, [{ ...POINT, ...spec }]);
  const meant = [
    [make({ tokn: "x" }), "OptionError", "TrainerClient has no 'tokn'; did you mean 'token'?"],
    [make({}, { deadline: 5 }), "SpecError", /has no 'deadline'; did you mean 'deadlineMs'\?/],
    [make({}, { action: { branch: [3] } }), "SpecError", /'branch'; did you mean 'branches'\?/],
    [make({}, { observations: { x: { size: [3] } } }), "SpecError", /no 'size'; it has: shape,/],
  ];
  for (const [made, name, message] of meant) assert.throws(made, { name, message });
});

test("a role that there is not is refused before anything is dialled", () => {
  assert.throws(() => clientOf(new ScriptedTrainer([]), { role: "judge" }), {
    name: "OptionError",
    message: "role is 'judge'; it must be training or evaluation",
  });
});

test("after a connection broke the same bytes are sent again in the same session", async () => {
  const trainer = new ScriptedTrainer([breakingAfter(1), welcoming({ resumed: true })]);
  const { client, clock } = clientOf(trainer);
  await client.exchange(rows(FIRST));
  const waiting = client.exchange(rows(MID));
  await clock.pass(5);
  await waiting;
  const [first, second] = trainer.links;
  assert.equal(second.received[0].hello.resume, "s1");
  assert.equal(second.received[0].hello.instanceId, first.received[0].hello.instanceId);
  assert.deepEqual(steps(second)[0].bytes, steps(first)[1].bytes);
  assert.equal(steps(second)[0].step.sequence, 2);
  assert.ok(first.isClosed);
  await client.exchange(rows(MID));
  assert.equal(steps(second)[1].step.sequence, 3);
});

test("a trainer that is away is dialled at growing distances, then it is lost", async () => {
  const away = (link) => link.fail(new errors.BrokenStreamError("refused"));
  const trainer = new ScriptedTrainer([breakingAfter(0), away]);
  const { client, clock } = clientOf(trainer, { reconnectS: 10 });
  const waiting = assert.rejects(client.exchange(rows(FIRST)), errors.ConnectionLostError);
  await clock.pass(0.001);
  const early = trainer.links.length;
  await clock.pass(20);
  await waiting;
  assert.equal(early, 2);
  // Waits of 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, ... seconds, each half as long or half as long again.
  assert.ok(trainer.links.length >= 7 && trainer.links.length <= 16, String(trainer.links.length));
});

for (const [words, breaks] of [
  ["breaks", (link) => link.end()],
  ["is stopped", (link) => link.say(close(STOPPED, "back soon"))],
]) {
  test(`a stream that held and ${words} is another trouble, while the same Step waits`, async () => {
    let held;
    const away = (link) => link.fail(new errors.BrokenStreamError("refused"));
    const trainer = new ScriptedTrainer([
      breakingAfter(0),
      welcoming({ resumed: true }, (link) => (held = link)),
      away,
      away,
      away,
      welcoming({ resumed: true }),
    ]);
    const { client, clock } = clientOf(trainer, { silenceS: Infinity });
    const waiting = client.exchange(rows(FIRST));
    waiting.catch(() => {}); // awaited below
    await clock.pass(3600);
    breaks(held);
    await clock.pass(30);
    assert.equal((await waiting).point.length, 2);
    assert.equal(trainer.links.length, 6);
  });
}

test("a file that is renewed while the trainer is dialled again is read later", async () => {
  const renewed = () => {
    throw new errors.OptionError("token file t is empty");
  };
  const resumed = welcoming({ resumed: true });
  const trainer = new ScriptedTrainer([breakingAfter(0), renewed, renewed, resumed]);
  const { client, clock } = clientOf(trainer);
  const waiting = client.exchange(rows(FIRST));
  waiting.catch(() => {}); // awaited below
  await clock.pass(5);
  assert.equal((await waiting).point.length, 2);
  const first = clientOf(new ScriptedTrainer([renewed])).client;
  await assert.rejects(first.connect(), errors.OptionError);
});

test("a file that is renewed while a trainer is awaited is read later", async () => {
  const away = (link) => link.fail(new errors.BrokenStreamError("refused"));
  const renewed = () => {
    throw new errors.OptionError("token file t is empty");
  };
  const { client, clock } = clientOf(new ScriptedTrainer([away, renewed, welcoming()]));
  const joining = client.connect();
  joining.catch(() => {}); // awaited below
  await clock.pass(5);
  assert.equal((await joining).sessionId, "s1");
});

test("a trainer that breaks each stream at once is given up within the time", async () => {
  const trainer = new ScriptedTrainer([
    breakingAfter(0),
    welcoming({ resumed: true }, (link) => link.end()),
  ]);
  const { client, clock } = clientOf(trainer, { reconnectS: 10 });
  const waiting = assert.rejects(client.exchange(rows(FIRST)), errors.ConnectionLostError);
  await clock.pass(10.1);
  await waiting;
});

test("a session that was forgotten is said to be lost, and the next Step is number 1", async () => {
  const trainer = new ScriptedTrainer([breakingAfter(1), welcoming({ sessionId: "s2" })]);
  const { client, clock } = clientOf(trainer);
  await client.exchange(rows(FIRST));
  const waiting = assert.rejects(client.exchange(rows(MID)), errors.SessionLostError);
  await clock.pass(5);
  await waiting;
  await client.exchange(rows(FIRST));
  assert.deepEqual(
    steps(trainer.links[1]).map(({ step }) => step.sequence),
    [1],
  );
});

test("a world is reset when its session was forgotten, and told of changed parameters", async () => {
  const second = welcoming({ sessionId: "s2", seed: 6n }, (link, step) => {
    if (step.sequence < 3) link.say(act(step.sequence, step.parts, { gravity: -3.5 }));
    else link.say(close(COMPLETED, "done"));
  });
  const trainer = new ScriptedTrainer([
    breakingAfter(2, { parameters: { gravity: -9.5, wind: 1 } }),
    second,
  ]);
  const { client, clock } = clientOf(trainer);
  const told = [];
  const world = {
    reset: ({ seed, parameters }) => {
      told.push([seed, { ...parameters }]);
      return rows(FIRST);
    },
    step: ({ point }) => rows(point.length === 2 ? MID : FIRST),
    setParameters: (parameters) => told.push({ ...parameters }),
  };
  const running = run(world, client);
  await clock.pass(5);
  await running;
  assert.deepEqual(told, [
    [5n, { gravity: -9.5, wind: 1 }],
    [6n, {}],
    { gravity: -3.5 },
    { gravity: -3.5 },
  ]);
});

test("Close COMPLETED is TrainerClosed, is answered by Goodbye, and ends withTrainer quietly", async () => {
  const trainer = new ScriptedTrainer([
    welcoming({}, (link) => link.say(close(COMPLETED, "100 updates"))),
  ]);
  const { client } = clientOf(trainer);
  let seen;
  await withTrainer(client, async () => {
    try {
      await client.exchange(rows(FIRST));
    } catch (error) {
      seen = error;
      throw error;
    }
  });
  assert.ok(seen instanceof errors.TrainerClosed);
  assert.match(seen.message, /100 updates/);
  assert.ok(trainer.links[0].received.at(-1).goodbye);
});

test("a trainer that stopped is waited for, and goes on with the session", async () => {
  const stopping = welcoming({}, (link) => link.say(close(STOPPED, "back soon")));
  const trainer = new ScriptedTrainer([stopping, welcoming({ resumed: true })]);
  const { client, clock } = clientOf(trainer);
  const waiting = client.exchange(rows(FIRST));
  await clock.pass(5);
  await waiting;
  assert.ok(!trainer.links[0].received.some((each) => each.goodbye !== undefined));
});

test("a trainer that stopped is the end for who does not wait, or if it does not come back", async () => {
  const stopping = welcoming({}, (link) => link.say(close(STOPPED, "back soon")));
  const once = clientOf(new ScriptedTrainer([stopping]), { reconnectS: 0 });
  await assert.rejects(once.client.exchange(rows(FIRST)), errors.TrainerClosed);
  const away = (link) => link.fail(new errors.BrokenStreamError("refused"));
  const later = clientOf(new ScriptedTrainer([stopping, away]), { reconnectS: 5 });
  const waiting = assert.rejects(later.client.exchange(rows(FIRST)), errors.TrainerClosed);
  await later.clock.pass(10);
  await waiting;
});

test("a Hello that is refused is not said again", async () => {
  const refusing = (link) =>
    link.open(() => {
      link.say(refusal(9, "the name 'sim' is taken"));
      link.end(4009, "the name 'sim' is taken");
    });
  const trainer = new ScriptedTrainer([refusing]);
  const { client } = clientOf(trainer);
  await assert.rejects(client.connect(), (error) => {
    assert.ok(error instanceof errors.MisfitError);
    assert.equal(
      error.message,
      "ws://t:1 refused 'sim': the name 'sim' is taken (FAILED_PRECONDITION)",
    );
    return true;
  });
  assert.equal(trainer.links.length, 1);
});

test("a Step that is refused ends the session; the next exchange begins another", async () => {
  const refusing = welcoming({}, (link) => link.say(refusal(3, "agent 3 has no FIRST row")));
  const trainer = new ScriptedTrainer([refusing, welcoming()]);
  const { client } = clientOf(trainer);
  await assert.rejects(client.exchange(rows(MID)), {
    name: "RefusedError",
    message: /INVALID_ARGUMENT/,
  });
  await client.exchange(rows(FIRST));
  assert.equal(trainer.links[1].received[0].hello.resume, "");
});

for (const [code, Kind] of [
  [4003, errors.RefusedError],
  [4008, errors.NoRoomError],
  [4016, errors.RefusedError],
  [4012, errors.RefusedError],
  [1003, errors.RefusedError],
  [1008, errors.NoRoomError],
  [1009, errors.NoRoomError],
]) {
  test(`close code ${code} without a message is ${Kind.name}`, async () => {
    const trainer = new ScriptedTrainer([welcoming({}, (link) => link.end(code, "why"))]);
    await assert.rejects(clientOf(trainer).client.exchange(rows(FIRST)), Kind);
  });
}

for (const [status, remedy] of [
  [200, /^HTTP 200: words \(check address and port, .* server.websocket\)$/],
  [400, /^HTTP 400: words$/],
  [401, /give the trainer's token/],
  [403, /server.origins/],
  [404, /check address and port/],
  [405, /check address and port/],
  [429, /^HTTP 429: words$/],
]) {
  test(`HTTP ${status} would come again, and is told with its remedy`, () => {
    const error = answered(status, "words");
    assert.ok(error instanceof errors.RefusedError);
    assert.match(error.message, remedy);
  });
}

for (const status of [408, 500, 503, 507]) {
  test(`after HTTP ${status} the trainer is dialled again`, () => {
    assert.ok(answered(status, "words") instanceof errors.BrokenStreamError);
  });
}

for (const code of [1000, 1001, 1002, 1005, 1006, 1011, 1012, 4004, 4010, 4013, 4014]) {
  test(`after close code ${code} the trainer is dialled again`, async () => {
    const trainer = new ScriptedTrainer([
      welcoming({}, (link) => link.end(code)),
      welcoming({ resumed: true }),
    ]);
    const { client, clock } = clientOf(trainer);
    const waiting = client.exchange(rows(FIRST));
    await clock.pass(5);
    await waiting;
  });
}

test("no Welcome within 30 seconds is dialled again", async () => {
  const trainer = new ScriptedTrainer([(link) => link.open(() => {}), welcoming()]);
  const { client, clock } = clientOf(trainer);
  const joining = client.connect();
  await clock.pass(29);
  assert.equal(trainer.links.length, 1);
  await clock.pass(3);
  await joining;
});

test("another protocol version is a misfit, which names the trainer once", async () => {
  const trainer = new ScriptedTrainer([welcoming({ version: 2 })]);
  const { client } = clientOf(trainer);
  await assert.rejects(client.connect(), {
    name: "MisfitError",
    message:
      "ws://t:1 and 'sim' do not fit: the trainer chose protocol 2, this simulator speaks 1; use the " +
      "entrain-envs that belongs to the trainer",
  });
});

test("an error in the game is the reason of its Goodbye", async () => {
  const trainer = new ScriptedTrainer([welcoming()]);
  const { client } = clientOf(trainer);
  const playing = withTrainer(client, async () => {
    await client.connect();
    throw new RangeError("off the board");
  });
  await assert.rejects(playing, RangeError);
  assert.equal(trainer.links[0].received.at(-1).goodbye, "RangeError: off the board");
});

test("a Step longer than the trainer takes is not sent, and nothing of it is lost", async () => {
  const trainer = new ScriptedTrainer([welcoming({ maxMessageBytes: 64 })]);
  const { client } = clientOf(trainer);
  client.note("c", 1, "sum");
  await assert.rejects(client.exchange(rows(FIRST)), {
    name: "MisfitError",
    message: /max_message_mib/,
  });
  assert.equal(steps(trainer.links[0]).length, 0);
  await client.exchange({ point: [{ agentId: 0, stepType: FIRST, observation: { place: 1 } }] });
  const [{ step }] = steps(trainer.links[0]);
  assert.deepEqual([step.sequence, step.statistics], [1, 1]);
});

test("a message longer than this client takes is a misfit with its remedy, and dialled no more", async () => {
  const tooLong = (link) => {
    const reader = new FrameReader(1000, { close() {}, message() {}, ping() {} });
    try {
      reader.push(Uint8Array.of(0x82, 126, 4, 0));
    } catch (error) {
      link.fail(error);
    }
  };
  const trainer = new ScriptedTrainer([welcoming({}, tooLong)]);
  const { client } = clientOf(trainer);
  await assert.rejects(client.exchange(rows(FIRST)), {
    name: "MisfitError",
    message:
      "ws://t:1 and 'sim' do not fit: a message is too long (1024 bytes came, and this client takes up " +
      "to 1000); send fewer agents in a message, or raise maxMessageMib of this simulator's TrainerClient",
  });
  assert.equal(trainer.links.length, 1);
});

test("a Step longer than the trainer takes that came back is not sent again", async () => {
  const shorter = welcoming({ resumed: true, maxMessageBytes: 50 });
  const trainer = new ScriptedTrainer([breakingAfter(0), shorter]);
  const { client, clock } = clientOf(trainer);
  const waiting = assert.rejects(client.exchange(rows(FIRST)), {
    name: "MisfitError",
    message: /and the trainer takes messages of up to 50;.*max_message_mib/,
  });
  await clock.pass(5);
  await waiting;
  assert.equal(steps(trainer.links[1]).length, 0);
});

test("behaviours that come later are declared with the next Step, and in each Hello after it", async () => {
  const trainer = new ScriptedTrainer([breakingAfter(2), welcoming({ resumed: true })]);
  const { client, clock } = clientOf(trainer);
  await client.exchange(rows(FIRST));
  client.addBehaviours([FOX, POINT]);
  await client.exchange({ fox: [{ agentId: 0, stepType: FIRST, observation: { place: 1 } }] });
  const waiting = client.exchange(rows(MID));
  await clock.pass(5);
  await waiting;
  assert.deepEqual(
    steps(trainer.links[0]).map(({ step }) => step.newBehaviours),
    [0, 1, 0],
  );
  assert.equal(trainer.links[1].received[0].hello.behaviours, 2);
  assert.throws(
    () => client.addBehaviours([{ ...FOX, action: { branches: [2] } }]),
    errors.SpecError,
  );
});

test("a behaviour that comes while a Hello is on its way is declared with the next Step", async () => {
  let link;
  const slow = (its) => its.open((_, message) => message.hello && (link = its));
  const trainer = new ScriptedTrainer([breakingAfter(0, { maxUnanswered: 2 }), slow]);
  const { client, clock } = clientOf(trainer, { maxUnansweredSteps: 2 });
  await client.send(rows(FIRST));
  client.receive().catch(() => {}); // it is never answered
  await clock.pass(5);
  client.addBehaviours([FOX]);
  link.say(welcome({ resumed: true, maxUnanswered: 2 }));
  await clock.pass(1);
  await client.send({ fox: [{ agentId: 7, stepType: FIRST, observation: { place: 1 } }] });
  await clock.pass(1);
  assert.deepEqual(
    steps(link).map(({ step }) => step.newBehaviours),
    [0, 1],
  );
});

test("a behaviour that comes while the first Hello is on its way is declared, too", async () => {
  let link;
  const slow = (its) => its.open((_, message) => message.hello && (link = its));
  const trainer = new ScriptedTrainer([slow]);
  const { client, clock } = clientOf(trainer);
  const joining = client.connect();
  await clock.pass(1);
  client.addBehaviours([FOX]);
  link.say(welcome());
  await joining;
  await client.send({ fox: [{ agentId: 7, stepType: FIRST, observation: { place: 1 } }] });
  await clock.pass(1);
  assert.deepEqual(
    steps(link).map(({ step }) => step.newBehaviours),
    [1],
  );
});

test("an older trainer is sent no behaviours that come later, and no statistics", async () => {
  const trainer = new ScriptedTrainer([welcoming({ revision: 0 })]);
  const { client, lines } = clientOf(trainer);
  await client.connect();
  for (const stepType of [FIRST, MID]) {
    for (let coin = 0; coin < 6000; coin += 1) client.note("coins", 1);
    await client.exchange(rows(stepType));
  }
  assert.deepEqual(
    steps(trainer.links[0]).map(({ step }) => step.statistics),
    [0, 0],
  );
  // Neither Step has more than it may.
  assert.deepEqual(lines, ["ws://t:1: joined run 'run'"]);
  assert.throws(() => client.addBehaviours([FOX]), errors.MisfitError);
});

test("statistics go with the next Step, once", async () => {
  const trainer = new ScriptedTrainer([welcoming()]);
  const { client } = clientOf(trainer);
  client.note("coins", 1, "sum");
  client.note("coins", 2, "sum");
  client.note("level", 3);
  await client.exchange(rows(FIRST));
  await client.exchange(rows(MID));
  assert.deepEqual(
    steps(trainer.links[0]).map(({ step }) => step.statistics),
    [2, 0],
  );
});

test("an Act of another Step, or two Welcomes, or too much, is a WireError", async () => {
  const wrong = [
    welcoming({}, (link) => link.say(act(9))),
    welcoming({}, (link) => link.say(welcome())),
    welcoming({}, (link) => link.say(Uint8Array.of(8, 1))),
    welcoming({}, (link) => link.say(act(1))),
  ];
  for (const talk of wrong) {
    await assert.rejects(
      clientOf(new ScriptedTrainer([talk])).client.exchange(rows(FIRST)),
      errors.WireError,
    );
  }
  const flood = welcoming({}, (link, step) => {
    for (let count = 0; count < 100; count += 1) answering(link, step);
  });
  const trainer = new ScriptedTrainer([flood]);
  const { client } = clientOf(trainer);
  await client.exchange(rows(FIRST)).catch(() => {});
  assert.ok(trainer.links[0].isClosed);
});

test("two exchanges at a time are out of turn", async () => {
  const trainer = new ScriptedTrainer([welcoming()]);
  const { client } = clientOf(trainer);
  await client.connect();
  const first = client.exchange(rows(FIRST));
  await assert.rejects(client.exchange(rows(FIRST)), errors.OutOfTurnError);
  await first;
});

test("a behaviour that was not declared, and a client without a name, are refused in words", async () => {
  const { client } = clientOf(new ScriptedTrainer([welcoming()]));
  await assert.rejects(client.exchange({ dog: [] }), {
    name: "SpecError",
    message: /no behaviour 'dog'/,
  });
  assert.throws(() => clientOf(new ScriptedTrainer([]), { simulator: "" }), errors.OptionError);
  assert.throws(() => clientOf(new ScriptedTrainer([]), { silenceS: 0 }), errors.OptionError);
  assert.throws(
    () => clientOf(new ScriptedTrainer([]), { maxUnansweredSteps: 0 }),
    errors.OptionError,
  );
});

test("an end row needs no action, and a Step may be empty", async () => {
  const { client } = clientOf(new ScriptedTrainer([welcoming()]));
  await client.exchange(rows(FIRST));
  assert.equal((await client.exchange(rows(TRUNCATED))).point.length, 0);
  assert.deepEqual(await client.exchange({}), {});
});
