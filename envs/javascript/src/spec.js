// Specs: what agents observe and how they act, checked once, when a client is made.

import { SpecError } from "./errors.js";
import { checkNames } from "./known_names.js";

const NAMES = ["name", "observations", "action", "deadlineMs", "fallback"];
const OBSERVATION_NAMES = ["shape", "dtype", "kind", "low", "high"];
const ACTION_NAMES = ["low", "high", "branches"];
const DTYPES = ["float32", "uint8"];
const KINDS = ["", "vector", "image", "entities", "goal"];
const FALLBACKS = ["", "last", "neutral", "controller"];
/** A day: who waits longer has no deadline. */
const LONGEST_DEADLINE_MS = 86_400_000;
const MOST_DIMENSIONS = 16;

/** Bounds of actions from this size on are taken as none: people write 1e10 for "unbounded". */
const UNBOUNDED_FROM = 1e8;

/** @typedef {import("../types/index.js").BehaviourSpec} BehaviourSpec */
/** @typedef {import("../types/index.js").ObservationSpec} ObservationSpec */

/**
 * @typedef {object} Observation
 * @property {string} name
 * @property {readonly number[]} shape
 * @property {number} size numbers that one agent observes
 * @property {"float32" | "uint8"} dtype
 * @property {"" | "vector" | "image" | "entities" | "goal"} kind empty: the trainer decides
 * @property {readonly number[]} low
 * @property {readonly number[]} high
 */

/** One kind of agent: its spec as a user wrote it, complete and checked. */
export class Behaviour {
  /** @param {BehaviourSpec} spec */
  constructor(spec) {
    if (!spec.name) throw new SpecError("a behaviour has an empty name; give each one a name");
    checkNames(spec, NAMES, `behaviour '${spec.name}'`, SpecError);
    this.name = spec.name;
    /** @type {readonly Observation[]} */
    this.observations = Object.entries(spec.observations).map(([name, each]) =>
      readObservation(name, each),
    );
    if (!this.observations.length) {
      throw new SpecError(`behaviour '${spec.name}' observes nothing; give it an observation`);
    }
    this.action = readAction(spec);
    const { deadlineMs = 0 } = spec;
    /** @type {"" | NonNullable<BehaviourSpec["fallback"]>} */
    const fallback = spec.fallback ?? "";
    checkDeadline(spec.name, deadlineMs, fallback);
    /** How long actions are waited for; 0: as long as it takes. */
    this.deadlineMs = deadlineMs;
    this.fallback = fallback;
    this.continuousSize = this.action.low.length;
    this.numBranches = this.action.branches.length;
    /** The width of an action mask. */
    this.numChoices = sum(this.action.branches);
  }

  /** Whether another spec of the same name means the same. @param {Behaviour} other */
  equals(other) {
    return JSON.stringify(this, asText) === JSON.stringify(other, asText);
  }
}

/** {name: behaviour}, in their order; SpecError if there are none, or two of one name.
 * @param {readonly BehaviourSpec[]} specs */
export function byName(specs) {
  const behaviours = new Map(specs.map((spec) => [spec.name, new Behaviour(spec)]));
  if (behaviours.size !== specs.length || !specs.length) {
    const names = specs.map((spec) => spec.name).join(", ");
    throw new SpecError(
      `a simulator needs behaviours of different names, at least one; it was given [${names}]`,
    );
  }
  return behaviours;
}

/** JSON has no infinity. @param {string} _key @param {unknown} value */
function asText(_key, value) {
  return typeof value === "number" ? String(value) : value;
}

/** @param {string} name @param {ObservationSpec} spec @returns {Observation} */
function readObservation(name, spec) {
  const where = `observation '${name}'`;
  checkNames(spec, OBSERVATION_NAMES, where, SpecError);
  const { shape = [], dtype = "float32", kind = "" } = spec;
  if (!name) throw new SpecError("an observation has an empty name; give each one a name");
  if (!DTYPES.includes(dtype)) {
    throw new SpecError(`${where} has dtype ${dtype}; it must be one of ${DTYPES.join(", ")}`);
  }
  if (!KINDS.includes(kind)) {
    throw new SpecError(
      `${where} is of kind '${kind}'; it must be one of ${KINDS.slice(1).join(", ")}`,
    );
  }
  if (shape.length > MOST_DIMENSIONS) {
    throw new SpecError(
      `${where} has ${shape.length} dimensions; it must have at most ${MOST_DIMENSIONS}: flatten some`,
    );
  }
  if (!shape.every((side) => Number.isInteger(side) && side >= 1)) {
    throw new SpecError(`${where} has shape [${shape}]; every dimension must be 1, 2, 3, ...`);
  }
  const size = shape.reduce((product, side) => product * side, 1);
  const [low, high] = [spec.low ?? [], spec.high ?? []].map((bound) => [bound].flat());
  /** @type {Observation} */
  const observation = { name, shape, size, dtype, kind, low: low ?? [], high: high ?? [] };
  checkBounds(where, observation);
  return observation;
}

/** @param {string} where @param {Observation} observation */
function checkBounds(where, { low, high, size }) {
  if (low.length !== high.length || ![0, 1, size].includes(low.length)) {
    throw new SpecError(
      `${where} has ${low.length} lower and ${high.length} upper bounds; give none, one of each ` +
        `for all numbers, or one of each for all ${size}`,
    );
  }
  low.forEach((bound, index) => {
    if (!(bound <= (high[index] ?? NaN))) {
      throw new SpecError(
        `${where} is bounded by [${bound}, ${high[index]}]; the lower bound must not be above the upper`,
      );
    }
  });
}

/** @param {string} name @param {number} deadlineMs @param {string} fallback */
function checkDeadline(name, deadlineMs, fallback) {
  if (!Number.isInteger(deadlineMs) || deadlineMs < 0 || deadlineMs > LONGEST_DEADLINE_MS) {
    throw new SpecError(
      `behaviour '${name}' has deadlineMs ${deadlineMs}; expected 0 (as long as it takes) to a day`,
    );
  }
  if (!FALLBACKS.includes(fallback) || Boolean(deadlineMs) !== Boolean(fallback)) {
    throw new SpecError(
      `behaviour '${name}' has deadlineMs ${deadlineMs} and fallback '${fallback}'; give both, the ` +
        `fallback one of ${FALLBACKS.slice(1).join(", ")}, or neither`,
    );
  }
}

/** @param {BehaviourSpec} spec */
function readAction({ name, action }) {
  checkNames(action, ACTION_NAMES, `the action of '${name}'`, SpecError);
  const { low = [], high = [], branches = [] } = action;
  if (low.length !== high.length) {
    throw new SpecError(
      `the action of '${name}' has ${low.length} lower and ${high.length} upper bounds; give one ` +
        "of each for every continuous dimension",
    );
  }
  low.forEach((bound, dimension) => {
    if (!(bound < (high[dimension] ?? NaN))) {
      throw new SpecError(
        `continuous action ${dimension} of '${name}' is bounded by [${bound}, ${high[dimension]}]; ` +
          "the lower bound must be below the upper one",
      );
    }
  });
  if (!branches.every((choices) => Number.isInteger(choices) && choices >= 1)) {
    throw new SpecError(
      `the discrete branches of '${name}' are [${branches}]; each needs at least one choice`,
    );
  }
  if (!low.length && !branches.length) {
    throw new SpecError(
      `the action of '${name}' is empty; give it a continuous dimension or a branch`,
    );
  }
  return {
    low: low.map((bound) => (bound <= -UNBOUNDED_FROM ? -Infinity : bound)),
    high: high.map((bound) => (bound >= UNBOUNDED_FROM ? Infinity : bound)),
    branches,
  };
}

/** @param {readonly number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
