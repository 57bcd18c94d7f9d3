// Worlds that do not wait: deadlines, what acts then, and what the next rows say. No sockets.

import assert from "node:assert/strict";
import { test } from "node:test";

import { OptionError } from "../src/errors.js";
import { LateRows } from "../src/late_rows.js";
import { rowsOf } from "../src/rows.js";
import { run } from "../src/run.js";
import { Behaviour } from "../src/spec.js";
import { FIRST, MID, TERMINATED } from "../src/timesteps.js";
import { clientOf, steps } from "./made_client.js";
import { FakeClock, ScriptedTrainer, act, close, welcoming } from "./scripted_trainer.js";

const COMPLETED = 1;

/** A spec with a deadline of 50 ms; its neutral action is [0.5], choice 0. */
const timed = (fallback) => ({
  name: "bug",
  observations: { seen: {} },
  action: { low: [0.5], high: [9], branches: [3] },
  deadlineMs: 50,
  fallback,
});

/** Agent 4, which earns 1, 2, 3, ... and notes what it is given. */
class World {
  given = [];

  reset() {
    this.steps = 0;
    return this.#rows(FIRST, 0);
  }

  step({ bug }) {
    this.given.push([...bug].map(({ continuous, discrete }) => [...continuous, ...discrete]));
    this.steps += 1;
    return this.#rows(MID, this.steps);
  }

  #rows(stepType, reward) {
    return { bug: [{ agentId: 4, stepType, reward, observation: { seen: 10 * reward } }] };
  }
}

/** An Act whose action of row i is [i + 2, choice 2]. */
const answer = ({ sequence, parts }) => {
  const chosen = parts.map((part) => ({ ...part, discrete: 2 }));
  return act(sequence, chosen, {}, 2);
};

/** Play with a trainer that answers Step n after `delays[n - 1]` seconds; the Steps that it got. */
async function played(world, delays, { fallback = "neutral", revision = 2, seconds = 2 } = {}) {
  const clock = new FakeClock();
  const trainer = new ScriptedTrainer([
    welcoming({ revision }, (link, step) => {
      const delayS = delays[step.sequence - 1];
      if (delayS === undefined) link.say(close(COMPLETED, "done"));
      else clock.after(delayS, () => link.say(answer(step)));
    }),
  ]);
  const { client, lines } = clientOf(trainer, {}, clock, [timed(fallback)]);
  const running = run(world, client, clock);
  running.catch(() => {}); // awaited below, once time has passed
  await clock.pass(seconds);
  await running;
  const sent = steps(trainer.links[0]).map(({ step }) => step);
  return { sent, rows: sent.map(({ parts }) => parts[0]), lines };
}

test("what comes too late is not applied, and one late row has the rewards of all steps", async () => {
  const world = new World();
  const { sent, rows } = await played(world, [0.12, 0.01]);
  // 50 and 100 ms after Step 1 the neutral action acts; at 120 ms its answer comes, and is dropped.
  assert.deepEqual(world.given, [[[0.5, 0]], [[0.5, 0]], [[2, 2]]]);
  assert.deepEqual(
    rows.map(({ stepType, reward, late }) => [...stepType, ...reward, ...late]),
    [
      [FIRST, 0],
      [MID, 3, 1],
      [MID, 3],
    ],
  );
  assert.deepEqual(
    sent.map(({ statistics }) => statistics),
    [0, 1, 0],
  );
});

test("answers in time are applied, and nothing is late", async () => {
  const world = new World();
  const { rows } = await played(world, [0.04, 0.049, 0]);
  assert.deepEqual(world.given, [[[2, 2]], [[2, 2]], [[2, 2]]]);
  assert.ok(rows.every(({ late }) => !late.length));
});

test("the last action is the one that was applied last, never one that came too late", async () => {
  const world = new World();
  await played(world, [0, 0.06, 0.06], { fallback: "last" });
  assert.deepEqual(world.given, [[[2, 2]], [[2, 2]], [[2, 2]]]);
  const begun = new World();
  await played(begun, [0.06, 0.06], { fallback: "last" });
  assert.deepEqual(begun.given, [[[0.5, 0]], [[0.5, 0]]], "before there is one it is neutral");
});

test("a mask that forbids the last choice makes it neutral", async () => {
  class Masked extends World {
    step(actions) {
      const { bug } = super.step(actions);
      return { bug: [{ ...bug[0], actionMask: [0, 1, 0] }] };
    }
  }
  const world = new Masked();
  await played(world, [0, 0.06], { fallback: "last" });
  assert.deepEqual(world.given, [[[2, 2]], [[2, 1]]]);
});

test("a controller of the world's own acts on the rows it is given", async () => {
  class Controlled extends World {
    control({ bug }) {
      return (
        bug.map && {
          bug: bug.map(({ observation }) => ({ continuous: [observation.seen], discrete: [1] })),
        }
      );
    }
  }
  const world = new Controlled();
  await played(world, [0, 0.06], { fallback: "controller" });
  assert.deepEqual(world.given, [[[2, 2]], [[10, 1]]]);
  await assert.rejects(
    () => played(new World(), [0], { fallback: "controller" }),
    (error) => error instanceof OptionError && /no method 'control'/.test(error.message),
  );
});

test("a trainer that cannot be told is waited for, and a line says so", async () => {
  const world = new World();
  const { rows, lines } = await played(world, [0.5, 0.5], { revision: 1 });
  assert.deepEqual(world.given, [[[2, 2]], [[2, 2]]]);
  assert.ok(rows.every(({ late }) => !late.length));
  assert.ok(lines.some((line) => line.includes("every action is waited for")));
});

test("an end is sent late with its rewards, and what followed begins at the newest row", () => {
  const late = new LateRows();
  const row = (stepType, reward) => ({
    agentId: 1n,
    stepType,
    reward,
    observation: { seen: reward },
  });
  const both = new Set(["1", "2"]);
  late.add([row(MID, 1)], both);
  late.add([row(TERMINATED, 2), row(FIRST, 0)], both);
  late.add([row(MID, 5), { ...row(MID, 7), agentId: 2 }], both);
  assert.deepEqual(
    late
      .take()
      .map(({ agentId, stepType, reward, observation, late: is }) => [
        agentId,
        stepType,
        reward,
        observation.seen,
        is,
      ]),
    [
      [1n, TERMINATED, 3, 2, true],
      [1n, FIRST, 0, 5, false],
      [2, MID, 7, 7, true],
    ],
  );
  assert.ok(late.isEmpty);
});

test("an agent whose outcome is not here yet waits for it", () => {
  const late = new LateRows();
  const row = (agentId, reward) => ({ agentId, stepType: MID, reward, observation: {} });
  const both = new Set(["1", "2"]);
  late.add([row(1, 1), row(2, 1)], both);
  late.add([row(2, 2)], both);
  assert.deepEqual(
    late.take().map(({ agentId, reward }) => [agentId, reward]),
    [[2, 3]],
  );
  late.add([row(1, 4), row(2, 5)], new Set());
  assert.deepEqual(
    late.take().map(({ agentId, reward, late: is }) => [agentId, reward, is]),
    [
      [1, 5, true],
      [2, 5, false],
    ],
  );
});

test("an agent that was not asked for acted in time, however often the fallback acts", async () => {
  // Agent 5 has no row in Step 2, whose answer comes too late for agent 4 alone.
  class Two extends World {
    reset() {
      return { bug: this.#both(super.reset()) };
    }

    step(actions) {
      const rows = super.step(actions);
      return this.steps === 1 ? rows : { bug: this.#both(rows) };
    }

    #both = ({ bug: [first] }) => [first, { ...first, agentId: 5 }];
  }
  const { rows } = await played(new Two(), [0, 0.12, 0.06]);
  assert.deepEqual(
    rows.map(({ stepType, reward, late }) => [stepType, reward, late]),
    [
      [[FIRST, FIRST], [0, 0], []],
      [[MID], [1], []],
      [
        [MID, MID],
        [5, 5],
        [1, 0],
      ],
      [
        [MID, MID],
        [4, 4],
        [1, 1],
      ],
    ],
  );
});

test("columns become rows that outlive the caller's arrays", () => {
  const behaviour = new Behaviour({
    name: "bug",
    observations: { seen: { shape: [2] } },
    action: { branches: [2] },
  });
  const seen = Float32Array.of(1, 2, 3, 4);
  const columns = {
    agentId: [7, 8],
    stepType: MID,
    reward: [0.5, 1],
    observation: { seen },
    actionMask: [
      [1, 0],
      [1, 1],
    ],
    groupId: 3,
    groupReward: [0, 2],
    late: [0, 1],
  };
  const [first, second] = rowsOf(behaviour, columns);
  const [same] = rowsOf(behaviour, [
    { agentId: 7, stepType: MID, observation: { seen: seen.subarray(0, 2) } },
  ]);
  seen.fill(9);
  assert.deepEqual(first, {
    agentId: 7,
    stepType: MID,
    reward: 0.5,
    observation: { seen: [1, 2] },
    actionMask: [1, 0],
    groupId: 3,
    groupReward: 0,
    late: false,
  });
  assert.deepEqual([second.observation.seen, second.groupReward, second.late], [[3, 4], 2, true]);
  assert.deepEqual(same.observation.seen, [1, 2]);
});
