// Rows as a user gives them: as columns or one by one, checked before anything is sent.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ActionBatch } from "../src/actions.js";
import { SpecError } from "../src/errors.js";
import { int64Bytes } from "../src/protobuf.js";
import { seededRandom } from "../src/random.js";
import { Behaviour, byName } from "../src/spec.js";
import { NotedStatistics } from "../src/statistics.js";
import { FIRST, MID, TERMINATED, encodeTimesteps } from "../src/timesteps.js";

const RABBIT = {
  name: "rabbit",
  observations: { place: { shape: [2] }, camera: { shape: [1, 2], dtype: "uint8" }, age: {} },
  action: { low: [-1], high: [1], branches: [2, 3] },
};
const BEHAVIOUR = new Behaviour(RABBIT);
const COLUMNS = {
  agentId: [7, 7, 2 ** 40],
  stepType: [TERMINATED, FIRST, MID],
  reward: [1.5, 0, -2],
  observation: {
    place: [1, 2, 3, 4, 5, 6],
    camera: [[[1, 2]], [[3, 4]], [[5, 6]]],
    age: [1, 2, 3],
  },
  actionMask: [
    [1, 1, 1, 1, 1],
    [1, 0, 0, 0, 1],
    [true, true, false, true, false],
  ],
};

test("choices that their branch does not have are refused", () => {
  const behaviour = new Behaviour({
    name: "b",
    observations: { x: {} },
    action: { branches: [3, 2] },
  });
  const chosen = (...discrete) =>
    ActionBatch.of(
      behaviour,
      [{ agentId: 1 }, { agentId: 2 }],
      [{ discrete: [2, 1] }, { discrete }],
    );
  assert.deepEqual([...chosen(0, 0).discrete], [2, 1, 0, 0]);
  for (const [discrete, words] of [
    [[-1, 0], /'b', .* choice -1 in row 1, branch 0; expected 0 to 2:/],
    [[3, 0], /choice 3 in row 1, branch 0; expected 0 to 2:/],
    [[0, 2], /choice 2 in row 1, branch 1; expected 0 to 1:/],
  ]) {
    assert.throws(() => chosen(...discrete), { name: "WireError", message: words });
  }
});

test("rows one by one are the same bytes as columns", () => {
  const rows = [0, 1, 2].map((row) => ({
    agentId: COLUMNS.agentId[row],
    stepType: COLUMNS.stepType[row],
    reward: COLUMNS.reward[row],
    observation: {
      place: COLUMNS.observation.place.slice(2 * row, 2 * row + 2),
      camera: Uint8Array.of(2 * row + 1, 2 * row + 2),
      age: row + 1,
    },
    ...(row ? { actionMask: COLUMNS.actionMask[row] } : {}),
  }));
  assert.deepEqual(
    encodeTimesteps(BEHAVIOUR, rows, true),
    encodeTimesteps(BEHAVIOUR, COLUMNS, true),
  );
});

test("only rows that need an action get one, in their order, by agent", () => {
  const { acting } = encodeTimesteps(BEHAVIOUR, COLUMNS, true);
  assert.deepEqual(acting, [7, 2 ** 40]);
  const part = {
    behaviour: "rabbit",
    continuous: new Uint8Array(new Float32Array([0.5, -0.5]).buffer),
    discrete: new Uint8Array(new Int32Array([1, 2, 0, 1]).buffer),
    policyVersion: 3,
  };
  const actions = [...new ActionBatch(BEHAVIOUR, acting, part)];
  assert.deepEqual(
    actions.map(({ agentId, continuous, discrete }) => [agentId, ...continuous, ...discrete]),
    [
      [7, 0.5, 1, 2],
      [2 ** 40, -0.5, 0, 1],
    ],
  );
});

test("no rows are no bytes, and one number stands for all rows", () => {
  const { part, acting } = encodeTimesteps(BEHAVIOUR, [], true);
  assert.deepEqual([part.stepType.length, acting.length, part.observations.length], [0, 0, 3]);
  const all = encodeTimesteps(
    BEHAVIOUR,
    { ...COLUMNS, stepType: MID, reward: 2, actionMask: undefined },
    true,
  );
  assert.deepEqual(all.part.stepType, Uint8Array.of(2, 2, 2));
  assert.deepEqual(new Float32Array(all.part.reward.buffer), Float32Array.of(2, 2, 2));
});

test("a mask that allows everything is left out", () => {
  const mask = { ...COLUMNS, actionMask: Array(15).fill(1) };
  assert.equal(encodeTimesteps(BEHAVIOUR, mask, true).part.actionMask.length, 0);
});

test("a trainer that knows no groups is sent all that was earned as the reward", () => {
  const grouped = { ...COLUMNS, groupId: 5, groupReward: [1, 0, 0.5] };
  const older = encodeTimesteps(BEHAVIOUR, grouped, false).part;
  assert.deepEqual(new Float32Array(older.reward.buffer), Float32Array.of(2.5, 0, -1.5));
  assert.deepEqual([older.groupId.length, older.groupReward.length], [0, 0]);
  const newer = encodeTimesteps(BEHAVIOUR, grouped, true).part;
  assert.deepEqual(newer.groupId, int64Bytes([5, 5, 5]));
  assert.equal(newer.groupReward.length, 12);
});

test("agent ids are int64, as numbers and as bigints", () => {
  const ids = [
    0,
    1,
    -1,
    -2,
    2 ** 31,
    2 ** 32,
    -(2 ** 32) - 5,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
  ];
  assert.deepEqual(int64Bytes(ids), int64Bytes(ids.map(BigInt)));
});

for (const [words, changed, pattern] of [
  [
    "a number too few",
    { observation: { ...COLUMNS.observation, place: [1, 2, 3] } },
    /place' has 3 numbers; expected 6/,
  ],
  [
    "another observation",
    { observation: { ...COLUMNS.observation, smell: [1, 2, 3] } },
    /age, camera, place, smell/,
  ],
  [
    "NaN",
    { observation: { ...COLUMNS.observation, age: [1, undefined, 3] } },
    /row 1 \(agent 7\) holds NaN/,
  ],
  ["more than float32 holds", { reward: [1, 2, 1e39] }, /reward, row 2 .* holds Infinity/],
  [
    "256 as a byte",
    { observation: { ...COLUMNS.observation, camera: [1, 2, 3, 4, 5, 256] } },
    /holds 256/,
  ],
  ["step type 5", { stepType: [1, 5, 2] }, /stepType of row 1 is 5/],
  ["half an agent", { agentId: [1, 2.5, 3] }, /agentId of row 1 is 2.5/],
  ["two rewards", { reward: [1, 2] }, /reward has 2 numbers/],
  [
    "a branch that allows nothing",
    { actionMask: [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1] },
    /3 choices of branch 1/,
  ],
  ["a FIRST row that is late", { late: [false, true, false] }, /late of row 1 is 1/],
  ["a late of 2", { late: [0, 0, 2] }, /late holds \[0,0,2\]/],
  ["late for two rows", { late: [0, 0] }, /late has 2/],
  ["a mask of 2", { actionMask: Array(15).fill(2) }, /holds 2/],
]) {
  test(`rows with ${words} are refused in words`, () => {
    assert.throws(
      () => encodeTimesteps(BEHAVIOUR, { ...COLUMNS, ...changed }, true),
      (error) => {
        assert.ok(error instanceof SpecError);
        assert.match(error.message, pattern);
        return true;
      },
    );
  });
}

for (const [words, spec, pattern] of [
  ["no name", { ...RABBIT, name: "" }, /empty name/],
  ["no observation", { ...RABBIT, observations: {} }, /observes nothing/],
  ["no action", { ...RABBIT, action: {} }, /is empty/],
  ["a side of 0", { ...RABBIT, observations: { x: { shape: [0] } } }, /every dimension/],
  ["float64", { ...RABBIT, observations: { x: { dtype: "float64" } } }, /float32, uint8/],
  ["an unknown kind", { ...RABBIT, observations: { x: { kind: "sound" } } }, /vector, image/],
  ["one bound", { ...RABBIT, observations: { x: { low: 0 } } }, /1 lower and 0 upper/],
  ["bounds turned around", { ...RABBIT, action: { low: [1], high: [-1] } }, /must be below/],
  ["a deadline and no fallback", { ...RABBIT, deadlineMs: 50 }, /give both/],
  ["a fallback and no deadline", { ...RABBIT, fallback: "neutral" }, /give both/],
  [
    "an unknown fallback",
    { ...RABBIT, deadlineMs: 50, fallback: "guess" },
    /last, neutral, controller/,
  ],
  ["half a millisecond", { ...RABBIT, deadlineMs: 0.5, fallback: "neutral" }, /deadlineMs 0.5/],
  ["half a choice", { ...RABBIT, action: { branches: [1.5] } }, /at least one choice/],
]) {
  test(`a behaviour with ${words} is refused in words`, () => {
    assert.throws(() => new Behaviour(spec), { name: "SpecError", message: pattern });
  });
}

test("behaviours have names of their own, and the same spec twice is equal", () => {
  assert.throws(() => byName([RABBIT, RABBIT]), SpecError);
  assert.throws(() => byName([]), SpecError);
  assert.ok(BEHAVIOUR.equals(new Behaviour({ ...RABBIT })));
  const unbounded = (low) => new Behaviour({ ...RABBIT, action: { low: [low], high: [1] } });
  assert.ok(unbounded(-1e10).equals(unbounded(-Infinity)));
  assert.ok(!unbounded(-1).equals(unbounded(-Infinity)));
});

test("a seed gives the same numbers each time, spread over 0 to 1, and another seed others", () => {
  const draw = (seed) => Array.from({ length: 10_000 }, seededRandom(seed));
  assert.deepEqual(draw(5n), draw(5));
  assert.notDeepEqual(draw(5).slice(0, 4), draw(6).slice(0, 4));
  assert.notDeepEqual(draw(0).slice(0, 4), draw(1n << 63n).slice(0, 4));
  const numbers = draw(2n ** 64n - 1n);
  const mean = numbers.reduce((total, each) => total + each, 0) / numbers.length;
  // The mean of 10,000 uniform numbers has a standard deviation of 0.0029.
  assert.ok(Math.abs(mean - 0.5) < 0.012, String(mean));
  assert.ok(numbers.every((each) => each >= 0 && each < 1));
  // The first numbers of seeds 0, 1, 2, ... are spread, too.
  const firsts = Array.from({ length: 1000 }, (_, seed) => seededRandom(seed)());
  assert.ok(Math.abs(firsts.reduce((total, each) => total + each, 0) / 1000 - 0.5) < 0.04);
});

test("statistics are kept by name, and what is too much is left out and said once", () => {
  const lines = [];
  const noted = new NotedStatistics((line) => lines.push(line));
  noted.add("coins", 1, "sum");
  noted.add("coins", 2, "sum");
  noted.add("coins", NaN, "sum");
  noted.add("coins", NaN, "sum");
  assert.deepEqual(noted.messages(), [{ name: "coins", aggregation: "sum", values: [1, 2] }]);
  noted.clear();
  assert.deepEqual(noted.messages(), []);
  for (let index = 0; index < 10_002; index += 1) noted.add("many", index, "mean");
  assert.equal(noted.messages()[0].values.length, 10_000);
  assert.equal(lines.length, 2);
  assert.throws(() => noted.add("", 1, "sum"), SpecError);
  assert.throws(() => noted.add("a\nb", 1, "sum"), SpecError);
  assert.throws(() => noted.add("coins", 1, "median"), SpecError);
});
