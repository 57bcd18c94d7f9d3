// The encoder and decoder against proto/vectors, which are recorded from protobuf's own code.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ActionBatch } from "../src/actions.js";
import { SpecError, WireError } from "../src/errors.js";
import {
  decodeInquireResponse,
  decodeResponse,
  encodeGoodbye,
  encodeHello,
  encodeInquireRequest,
  encodeStep,
} from "../src/messages.js";
import { Reader, Writer, floatsIn, intsIn } from "../src/protobuf.js";
import { seededRandom } from "../src/random.js";
import { Behaviour } from "../src/spec.js";
import { encodeTimesteps } from "../src/timesteps.js";

const FOLDER = new URL("../../../proto/vectors/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));
const bytesOf = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hexOf = (bytes) => Buffer.from(bytes).toString("hex");
const number = (value) => Number(value);
const STANDINGS = ["UNSPECIFIED", "NOT_HELD", "HELD", "ANSWERED"].map(
  (name) => `STEP_STANDING_${name}`,
);
const REASONS = ["UNSPECIFIED", "COMPLETED", "STOPPED"].map((name) => `CLOSE_REASON_${name}`);

/** A behaviour as a user writes it. */
function specOf(fields) {
  const lower = (name, prefix) => (name ?? "").replace(prefix, "").toLowerCase();
  const observations = fields.observations.map((each) => [
    each.name,
    {
      shape: each.shape ?? [],
      dtype: lower(each.dtype, "DTYPE_"),
      kind: lower(each.kind, "OBSERVATION_KIND_"),
      low: (each.low ?? []).map(number),
      high: (each.high ?? []).map(number),
    },
  ]);
  const { low = [], high = [], branches = [] } = fields.action;
  const action = { low: low.map(number), high: high.map(number), branches };
  const { deadline_ms: deadlineMs = 0, fallback } = fields;
  return new Behaviour({
    name: fields.name,
    observations: Object.fromEntries(observations),
    action,
    deadlineMs,
    fallback: lower(fallback, /FALLBACK_|_ACTION/g),
  });
}

/** The rows of one behaviour, as a user gives them. */
function columnsOf(part, behaviour) {
  const {
    agent_id = [],
    step_type = [],
    reward = [],
    observations = [],
    action_mask,
    group_id,
  } = part;
  const named = behaviour.observations.map((each, index) => [each.name, observations[index]]);
  return {
    agentId: agent_id.map(BigInt),
    stepType: step_type,
    reward: reward.map(number),
    observation: Object.fromEntries(
      named.filter(([, values]) => values).map(([name, values]) => [name, values.map(number)]),
    ),
    ...(action_mask ? { actionMask: action_mask } : {}),
    ...(group_id ? { groupId: group_id.map(BigInt) } : {}),
    ...(part.late ? { late: part.late } : {}),
    ...(part.group_reward ? { groupReward: part.group_reward.map(number) } : {}),
  };
}

function stepOf(step, specs) {
  const lower = (name) => name.replace("AGGREGATION_", "").toLowerCase();
  return {
    sequence: BigInt(step.sequence),
    behaviours: (step.behaviours ?? []).map(
      (part) =>
        encodeTimesteps(specs[part.behaviour], columnsOf(part, specs[part.behaviour]), true).part,
    ),
    newBehaviours: (step.new_behaviours ?? []).map(specOf),
    statistics: (step.statistics ?? []).map(({ name, aggregation, values = [] }) => ({
      name,
      aggregation: lower(aggregation ?? ""),
      values: values.map(number),
    })),
  };
}

function helloOf(hello) {
  return {
    minVersion: hello.min_version,
    maxVersion: hello.max_version,
    simulator: hello.simulator,
    instanceId: hello.instance_id,
    behaviours: (hello.behaviours ?? []).map(specOf),
    maxAgents: hello.max_agents ?? 0,
    resumeSessionId: hello.resume_session_id ?? "",
    maxUnansweredSteps: hello.max_unanswered_steps ?? 0,
    role: hello.role === "ROLE_EVALUATION" ? "evaluation" : "training",
  };
}

function specsIn({ specs }) {
  return Object.fromEntries(Object.entries(specs).map(([name, fields]) => [name, specOf(fields)]));
}

/** What was read, as a vector's `fields` writes it. */
function fieldsOf({ welcome, act, close, refusal }) {
  if (welcome) {
    return {
      welcome: {
        version: welcome.version,
        session_id: welcome.sessionId,
        run_id: welcome.runId,
        seed: String(welcome.seed),
        environment_parameters: { ...welcome.environmentParameters },
        max_unanswered_steps: welcome.maxUnansweredSteps,
        resumed: welcome.resumed,
        grace_s: welcome.graceS,
        max_message_bytes: String(welcome.maxMessageBytes),
        revision: welcome.revision,
      },
    };
  }
  if (refusal) return { refusal };
  if (close)
    return { close: { reason: REASONS[close.reason] ?? close.reason, message: close.message } };
  const parts = act.behaviours.map((part) => ({
    behaviour: part.behaviour,
    continuous: [...floatsIn(part.continuous)],
    discrete: [...intsIn(part.discrete)],
    policy_version: part.policyVersion,
  }));
  const changed = { ...act.changedEnvironmentParameters };
  return {
    act: { sequence: act.sequence, behaviours: parts, changed_environment_parameters: changed },
  };
}

/** The same with defaults left out and 64-bit texts as numbers. @param {any} value */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "string" && /^\d+$/.test(value)) return Number(value);
  if (typeof value !== "object") return value;
  const isDefault = (each) =>
    each === 0 ||
    each === false ||
    each === "" ||
    each === REASONS[0] ||
    (typeof each === "object" && !Object.keys(each).length);
  const maps = ["environment_parameters", "changed_environment_parameters"];
  const inside = ["welcome", "act", "close", "refusal"];
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, each]) => [name, maps.includes(name) ? each : plain(each)])
      .filter(([name, each]) => inside.includes(name) || !isDefault(each)),
  );
}

const said = read("from_simulator");
for (const { name, fields, bytes } of said.vectors) {
  test(`writes ${name} as protobuf does`, () => {
    let written;
    if (fields.hello) written = encodeHello(helloOf(fields.hello));
    else if (fields.step) written = encodeStep(stepOf(fields.step, specsIn(said)));
    else written = encodeGoodbye(fields.goodbye.reason ?? "");
    assert.equal(hexOf(written), bytes);
  });
}

for (const { name, message, fields, bytes } of [
  ...read("from_trainer").vectors,
  ...read("tolerated").vectors,
]) {
  if (message !== "ConnectResponse") continue;
  test(`reads ${name}`, () => {
    const found = plain(fieldsOf(decodeResponse(bytesOf(bytes))));
    // A trainer that says 0 unanswered steps means 1.
    if (found.welcome && !fields.welcome.max_unanswered_steps)
      delete found.welcome.max_unanswered_steps;
    assert.deepEqual(found, plain(fields));
  });
}

for (const { name, message, fields, bytes } of read("inquire").vectors) {
  test(`${name} is as protobuf has it`, () => {
    if (message === "InquireRequest") {
      const { session_id, instance_id, sequence } = fields;
      assert.equal(hexOf(encodeInquireRequest(session_id, instance_id, Number(sequence))), bytes);
    } else {
      assert.equal(
        STANDINGS[decodeInquireResponse(bytesOf(bytes))],
        fields.standing ?? STANDINGS[0],
      );
    }
  });
}

for (const { number: text, bytes } of read("varints").vectors) {
  test(`varint ${text} is written and read`, () => {
    const value = BigInt(text);
    const writer = new Writer();
    writer.uint(1, value);
    assert.equal(hexOf(writer.finish()), value ? `08${bytes}` : "");
    const reader = new Reader(bytesOf(`08${bytes}`), "Test");
    assert.ok(reader.next());
    assert.equal(reader.bigUint(), value);
    if (value > 2n ** 53n) return;
    const small = new Writer();
    small.uint(1, Number(value));
    assert.deepEqual(small.finish(), writer.finish());
    const again = new Reader(bytesOf(`08${bytes}`), "Test");
    again.next();
    assert.equal(again.uint(), Number(value));
  });
}

for (const { name, bytes } of read("malformed").vectors) {
  test(`${name} cannot be read`, () => {
    assert.throws(() => decodeResponse(bytesOf(bytes)), WireError);
  });
}

test("damaged messages are read or refused, and nothing else happens", () => {
  const random = seededRandom(7);
  const whole = [...read("from_trainer").vectors, ...read("tolerated").vectors].map(({ bytes }) =>
    bytesOf(bytes),
  );
  let refused = 0;
  for (let count = 0; count < 5000; count += 1) {
    const bytes = Uint8Array.from(whole[Math.floor(random() * whole.length)]);
    for (let hit = 0; hit < 3; hit += 1)
      bytes[Math.floor(random() * bytes.length)] = 256 * random();
    try {
      decodeResponse(bytes.subarray(0, Math.ceil(random() * bytes.length)));
    } catch (error) {
      assert.ok(error instanceof WireError, String(error));
      refused += 1;
    }
  }
  assert.ok(refused > 1000);
});

const bad = read("refused");
for (const { name, fields, bytes, rows_that_need_an_action: rows } of bad.vectors) {
  test(`${name} is refused before it is sent, or when it comes`, () => {
    const specs = specsIn(bad);
    if (fields.step) {
      assert.throws(() => stepOf(fields.step, specs), SpecError);
      return;
    }
    const [part] = decodeResponse(bytesOf(bytes)).act.behaviours;
    const agents = Array.from({ length: rows }, (_, row) => row);
    assert.throws(() => new ActionBatch(specs[part.behaviour], agents, part), WireError);
  });
}
