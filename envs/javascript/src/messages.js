// The trainer's messages: writes what a simulator says, reads what a trainer says.
//
// Field numbers are those of proto/entrain/v1/trainer.proto. Nothing here knows sockets or sessions.

import { Reader, Writer } from "./protobuf.js";

export const PROTOCOL_VERSION = 1;

/** Numbers of StepStanding. */
export const NOT_HELD = 1;
export const ANSWERED = 3;

/** Number of CloseReason. */
export const STOPPED = 2;

/** Numbers of Role: what a simulator's agents are for. */
export const ROLES = { training: 0, evaluation: 1 };

/** Trainers of earlier revisions know of no roles: they learn from everyone. */
export const ROLES_REVISION = 3;

const DTYPES = { float32: 1, uint8: 2 };
const KINDS = { "": 0, vector: 1, image: 2, entities: 3, goal: 4 };
const FALLBACKS = { "": 0, last: 1, neutral: 2, controller: 3 };
const AGGREGATIONS = { "": 0, mean: 1, last: 2, sum: 3, histogram: 4 };

/**
 * @typedef {object} Hello
 * @property {number} minVersion
 * @property {number} maxVersion
 * @property {string} simulator
 * @property {string} instanceId
 * @property {readonly import("./spec.js").Behaviour[]} behaviours
 * @property {number} maxAgents
 * @property {string} resumeSessionId
 * @property {number} maxUnansweredSteps
 * @property {keyof typeof ROLES} role
 *
 * @typedef {object} BehaviourStep K rows of one behaviour, as bytes.
 * @property {string} behaviour
 * @property {Uint8Array} agentId
 * @property {Uint8Array} stepType
 * @property {Uint8Array} reward
 * @property {readonly Uint8Array[]} observations
 * @property {Uint8Array} actionMask empty: everything is allowed
 * @property {Uint8Array} groupId
 * @property {Uint8Array} groupReward
 * @property {Uint8Array} late empty: every action was the trainer's
 *
 * @typedef {object} Statistic
 * @property {string} name
 * @property {keyof typeof AGGREGATIONS} aggregation
 * @property {number[]} values
 *
 * @typedef {object} Step
 * @property {number | bigint} sequence
 * @property {readonly BehaviourStep[]} behaviours
 * @property {readonly import("./spec.js").Behaviour[]} newBehaviours
 * @property {readonly Statistic[]} statistics
 *
 * @typedef {object} Welcome
 * @property {number} version
 * @property {string} sessionId
 * @property {string} runId
 * @property {bigint} seed
 * @property {Record<string, number>} environmentParameters
 * @property {number} maxUnansweredSteps
 * @property {boolean} resumed
 * @property {number} graceS
 * @property {number} maxMessageBytes
 * @property {number} revision
 *
 * @typedef {object} BehaviourAct
 * @property {string} behaviour
 * @property {Uint8Array} continuous
 * @property {Uint8Array} discrete
 * @property {number} policyVersion
 *
 * @typedef {object} Act
 * @property {number} sequence
 * @property {BehaviourAct[]} behaviours
 * @property {Record<string, number>} changedEnvironmentParameters
 *
 * @typedef {object} Close
 * @property {number} reason
 * @property {string} message
 *
 * @typedef {object} Refusal
 * @property {number} code gRPC's number
 * @property {string} message
 *
 * @typedef {{welcome?: Welcome, act?: Act, close?: Close, refusal?: Refusal}} Response
 */

/** @param {Hello} hello */
export function encodeHello(hello) {
  const writer = new Writer();
  writer.message(1, () => {
    writer.uint(1, hello.minVersion);
    writer.uint(2, hello.maxVersion);
    writer.string(3, hello.simulator);
    writer.string(4, hello.instanceId);
    for (const behaviour of hello.behaviours) writeBehaviour(writer, 5, behaviour);
    writer.uint(6, hello.maxAgents);
    writer.string(7, hello.resumeSessionId);
    writer.uint(8, hello.maxUnansweredSteps);
    writer.uint(9, ROLES[hello.role]);
  });
  return writer.finish();
}

/** @param {Step} step */
export function encodeStep(step) {
  const writer = new Writer();
  writer.message(2, () => {
    writer.uint(1, step.sequence);
    for (const part of step.behaviours) writer.message(2, () => writeBehaviourStep(writer, part));
    for (const behaviour of step.newBehaviours) writeBehaviour(writer, 3, behaviour);
    for (const { name, aggregation, values } of step.statistics) {
      writer.message(4, () => {
        writer.string(1, name);
        writer.uint(2, AGGREGATIONS[aggregation]);
        writer.packedDoubles(3, values);
      });
    }
  });
  return writer.finish();
}

/** @param {string} reason */
export function encodeGoodbye(reason) {
  const writer = new Writer();
  writer.message(3, () => writer.string(1, reason));
  return writer.finish();
}

/** @param {string} sessionId @param {string} instanceId @param {number} sequence */
export function encodeInquireRequest(sessionId, instanceId, sequence) {
  const writer = new Writer();
  writer.string(1, sessionId);
  writer.string(2, instanceId);
  writer.uint(3, sequence);
  return writer.finish();
}

/** The standing: a number of StepStanding. @param {Uint8Array} bytes */
export function decodeInquireResponse(bytes) {
  const reader = new Reader(bytes, "InquireResponse");
  let standing = 0;
  while (reader.next()) if (reader.field === 1) standing = reader.uint();
  return standing;
}

/** What a trainer said; empty if it is something that this package does not know.
 * @param {Uint8Array} bytes @returns {Response} */
export function decodeResponse(bytes) {
  const reader = new Reader(bytes, "ConnectResponse");
  /** @type {Response} */
  let response = {};
  while (reader.next()) {
    if (reader.field === 1) response = { welcome: decodeWelcome(reader.bytes()) };
    else if (reader.field === 2) response = { act: decodeAct(reader.bytes()) };
    else if (reader.field === 3) {
      const { number, text } = decodeNumberAndText(reader.bytes(), "Close");
      response = { close: { reason: number, message: text } };
    } else if (reader.field === 4) {
      const { number, text } = decodeNumberAndText(reader.bytes(), "Refusal");
      response = { refusal: { code: number, message: text } };
    }
  }
  return response;
}

/** @param {Writer} writer @param {number} field @param {import("./spec.js").Behaviour} behaviour */
function writeBehaviour(writer, field, behaviour) {
  writer.message(field, () => {
    writer.string(1, behaviour.name);
    for (const each of behaviour.observations) {
      writer.message(2, () => {
        writer.string(1, each.name);
        writer.packedUints(2, each.shape);
        writer.uint(3, DTYPES[each.dtype]);
        writer.uint(4, KINDS[each.kind]);
        writer.packedDoubles(5, each.low);
        writer.packedDoubles(6, each.high);
      });
    }
    writer.message(3, () => {
      writer.packedFloats(1, behaviour.action.low);
      writer.packedFloats(2, behaviour.action.high);
      writer.packedUints(3, behaviour.action.branches);
    });
    writer.uint(4, behaviour.deadlineMs);
    writer.uint(5, FALLBACKS[behaviour.fallback]);
  });
}

/** @param {Writer} writer @param {BehaviourStep} part */
function writeBehaviourStep(writer, part) {
  writer.string(1, part.behaviour);
  writer.bytes(2, part.agentId);
  writer.bytes(3, part.stepType);
  writer.bytes(4, part.reward);
  for (const observation of part.observations) writer.element(5, observation);
  writer.bytes(6, part.actionMask);
  writer.bytes(7, part.groupId);
  writer.bytes(8, part.groupReward);
  writer.bytes(9, part.late);
}

/** @param {Uint8Array} bytes @returns {Welcome} */
function decodeWelcome(bytes) {
  const reader = new Reader(bytes, "Welcome");
  const welcome = { ...NOT_JOINED, environmentParameters: noParameters() };
  while (reader.next()) {
    if (reader.field === 1) welcome.version = reader.uint();
    else if (reader.field === 2) welcome.sessionId = reader.string();
    else if (reader.field === 3) welcome.runId = reader.string();
    else if (reader.field === 4) welcome.seed = reader.bigUint();
    else if (reader.field === 5) readParameter(reader.bytes(), welcome.environmentParameters);
    else if (reader.field === 6) welcome.maxUnansweredSteps = Math.max(1, reader.uint());
    else if (reader.field === 7) welcome.resumed = reader.uint() !== 0;
    else if (reader.field === 8) welcome.graceS = reader.float();
    else if (reader.field === 9) welcome.maxMessageBytes = reader.uint();
    else if (reader.field === 10) welcome.revision = reader.uint();
  }
  return welcome;
}

/** @param {Uint8Array} bytes @returns {Act} */
function decodeAct(bytes) {
  const reader = new Reader(bytes, "Act");
  /** @type {Act} */
  const act = { sequence: 0, behaviours: [], changedEnvironmentParameters: noParameters() };
  while (reader.next()) {
    if (reader.field === 1) act.sequence = reader.uint();
    else if (reader.field === 2) act.behaviours.push(decodeBehaviourAct(reader.bytes()));
    else if (reader.field === 3) readParameter(reader.bytes(), act.changedEnvironmentParameters);
  }
  return act;
}

/** @param {Uint8Array} bytes @returns {BehaviourAct} */
function decodeBehaviourAct(bytes) {
  const reader = new Reader(bytes, "BehaviourAct");
  /** @type {Uint8Array} */
  const nothing = new Uint8Array(0);
  const part = { behaviour: "", continuous: nothing, discrete: nothing, policyVersion: 0 };
  while (reader.next()) {
    if (reader.field === 1) part.behaviour = reader.string();
    else if (reader.field === 2) part.continuous = reader.bytes();
    else if (reader.field === 3) part.discrete = reader.bytes();
    else if (reader.field === 4) part.policyVersion = reader.uint();
  }
  return part;
}

/** Close and Refusal: a number, and words for people. @param {Uint8Array} bytes @param {string} name */
function decodeNumberAndText(bytes, name) {
  const reader = new Reader(bytes, name);
  const found = { number: 0, text: "" };
  while (reader.next()) {
    if (reader.field === 1) found.number = reader.uint();
    else if (reader.field === 2) found.text = reader.string();
  }
  return found;
}

/** One entry of a map<string, float>. @param {Uint8Array} bytes @param {Record<string, number>} into */
function readParameter(bytes, into) {
  const reader = new Reader(bytes, "environment parameter");
  let name = "";
  let value = 0;
  while (reader.next()) {
    if (reader.field === 1) name = reader.string();
    else if (reader.field === 2) value = reader.float();
  }
  into[name] = value;
}

/** Without a prototype: a parameter may be called `constructor`. @returns {Record<string, number>} */
function noParameters() {
  return Object.create(null);
}

/** @type {Readonly<Welcome>} */
export const NOT_JOINED = Object.freeze({
  version: 0,
  sessionId: "",
  runId: "",
  seed: 0n,
  environmentParameters: Object.freeze(noParameters()),
  maxUnansweredSteps: 1,
  resumed: false,
  graceS: 0,
  maxMessageBytes: 0,
  revision: 0,
});
