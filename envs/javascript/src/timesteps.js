// Turns a user's rows of one behaviour into the bytes of a BehaviourStep, checked against the spec.
//
// Rows come as columns ({agentId: [..], reward: [..], ...}; one number may stand for all rows) or as
// a list of objects with the same names. What does not fit is a SpecError, before anything is sent.

import { SpecError } from "./errors.js";
import { bytesOf4, int64Bytes } from "./protobuf.js";

/** Where a row stands in its episode. The numbers are those of the wire. */
export const FIRST = 1;
export const MID = 2;
export const TERMINATED = 3;
export const TRUNCATED = 4;

/** @typedef {import("./spec.js").Behaviour} Behaviour */
/** @typedef {import("./spec.js").Observation} Observation */
/** @typedef {import("../types/index.js").Timesteps} Timesteps */
/** @typedef {import("../types/index.js").TimestepColumns} Columns */
/** @typedef {import("../types/index.js").TimestepRow} Row */
/** @typedef {import("../types/index.js").Numbers} Numbers */

/**
 * @typedef {object} Encoded
 * @property {import("./messages.js").BehaviourStep} part
 * @property {(number | bigint)[]} acting the agents whose rows need an action, in their order
 */

const NOTHING = new Uint8Array(0);

/**
 * @param {Behaviour} behaviour
 * @param {Timesteps} timesteps
 * @param {boolean} knowsGroups whether the trainer does; if not, `reward` is all that was earned
 * @returns {Encoded}
 */
export function encodeTimesteps(behaviour, timesteps, knowsGroups) {
  const columns = isRows(timesteps) ? columnsOf(behaviour, timesteps) : timesteps;
  const where = `behaviour '${behaviour.name}'`;
  const agents = columns.agentId;
  const rows = agents.length;
  const stepType = column(`${where}, stepType`, columns.stepType, rows, Uint8Array);
  const acting = actingAgents(where, agents, stepType);
  const reward = column(`${where}, reward`, columns.reward, rows, Float32Array);
  const groupReward =
    columns.groupReward === undefined
      ? new Float32Array(0)
      : column(`${where}, groupReward`, columns.groupReward, rows, Float32Array);
  checkFinite(`${where}, reward`, reward, 1, agents);
  checkFinite(`${where}, groupReward`, groupReward, 1, agents);
  checkNames(behaviour, columns.observation);
  const sendsGroups = knowsGroups && columns.groupId !== undefined;
  return {
    acting,
    part: {
      behaviour: behaviour.name,
      agentId: int64Bytes(wholeNumbers(`${where}, agentId`, agents)),
      stepType,
      reward: bytesOf4(
        knowsGroups ? reward : reward.map((own, row) => own + (groupReward[row] ?? 0)),
      ),
      observations: behaviour.observations.map((each) =>
        observationBytes(where, each, columns.observation[each.name] ?? [], agents),
      ),
      actionMask: maskBytes(behaviour, columns, stepType),
      groupId: sendsGroups
        ? int64Bytes(wholeNumbers(`${where}, groupId`, each(columns.groupId ?? 0, rows, where)))
        : NOTHING,
      groupReward: knowsGroups ? bytesOf4(groupReward) : NOTHING,
      late: lateBytes(where, columns.late, stepType),
    },
  };
}

/** The agents that need an action. @param {string} where @param {ArrayLike<number | bigint>} agents
 * @param {Uint8Array} stepType */
function actingAgents(where, agents, stepType) {
  const acting = [];
  for (let row = 0; row < stepType.length; row += 1) {
    const type = stepType[row] ?? 0;
    if (type < FIRST || type > TRUNCATED) {
      throw new SpecError(
        `${where}, stepType of row ${row} is ${type}; it must be FIRST (1), MID (2), TERMINATED (3) ` +
          "or TRUNCATED (4)",
      );
    }
    if (type <= MID) acting.push(agents[row] ?? 0);
  }
  return acting;
}

/** @param {Timesteps} timesteps @returns {timesteps is readonly Row[]} */
export function isRows(timesteps) {
  return Array.isArray(timesteps);
}

/** @param {Behaviour} behaviour @param {readonly Row[]} rows @returns {Columns} */
function columnsOf(behaviour, rows) {
  const some = (/** @type {keyof Row} */ name) => rows.some((row) => row[name] !== undefined);
  /** @type {Columns} */
  const columns = {
    agentId: rows.map((row) => row.agentId),
    stepType: rows.map((row) => row.stepType),
    reward: rows.map((row) => row.reward ?? 0),
    observation: Object.fromEntries(
      Object.keys(rows[0]?.observation ?? emptyObservation(behaviour)).map((name) => [
        name,
        rows.map((row) => row.observation[name] ?? []),
      ]),
    ),
  };
  if (some("actionMask")) {
    const all = Array(behaviour.numChoices).fill(1);
    columns.actionMask = rows.map((row) => row.actionMask ?? all);
  }
  if (some("groupId")) columns.groupId = rows.map((row) => row.groupId ?? 0);
  if (some("late")) columns.late = rows.map((row) => row.late ?? false);
  if (some("groupReward")) columns.groupReward = rows.map((row) => row.groupReward ?? 0);
  return columns;
}

/** @param {Behaviour} behaviour */
function emptyObservation(behaviour) {
  return Object.fromEntries(behaviour.observations.map((each) => [each.name, []]));
}

/** @param {Behaviour} behaviour @param {Columns["observation"]} observation */
function checkNames(behaviour, observation) {
  const expected = behaviour.observations.map((each) => each.name);
  const given = Object.keys(observation);
  if (given.length !== expected.length || !expected.every((name) => name in observation)) {
    throw new SpecError(
      `behaviour '${behaviour.name}' was given observations ${given.sort().join(", ") || "(none)"}; ` +
        `expected ${expected.join(", ")}`,
    );
  }
}

/** @param {string} where @param {Observation} spec @param {Numbers} values
 * @param {ArrayLike<number | bigint>} agents */
function observationBytes(where, spec, values, agents) {
  const name = `${where}, observation '${spec.name}'`;
  const flat = flattened(values);
  if (flat.length !== agents.length * spec.size) {
    throw new SpecError(
      `${name} has ${flat.length} numbers; expected ${agents.length * spec.size}: ` +
        `${agents.length} rows of ${spec.dtype}[${spec.shape}]`,
    );
  }
  if (spec.dtype === "uint8") {
    if (flat instanceof Uint8ClampedArray)
      return new Uint8Array(flat.buffer, flat.byteOffset, flat.length);
    return flat instanceof Uint8Array ? flat : bytesIn(name, flat);
  }
  const floats = flat instanceof Float32Array ? flat : Float32Array.from(flat);
  checkFinite(name, floats, spec.size, agents);
  return bytesOf4(floats);
}

/** @param {string} name @param {ArrayLike<number>} values */
function bytesIn(name, values) {
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index] ?? NaN;
    if (!(Number.isInteger(value) && value >= 0 && value <= 255)) {
      throw new SpecError(`${name} holds ${value}; a uint8 is a whole number from 0 to 255`);
    }
  }
  return Uint8Array.from(values);
}

/** @param {string} where @param {Columns["late"]} late @param {Uint8Array} stepType */
function lateBytes(where, late, stepType) {
  if (late === undefined) return NOTHING;
  const flags = Array.from(each(late, stepType.length, `${where}, late`), Number);
  if (!flags.every((flag) => flag === 0 || flag === 1)) {
    throw new SpecError(
      `${where}, late holds [${flags}]; expected 1 where the fallback acted, else 0`,
    );
  }
  const first = flags.findIndex((flag, row) => flag && stepType[row] === FIRST);
  if (first >= 0) {
    throw new SpecError(
      `${where}, late of row ${first} is 1 and the row is FIRST, to which no action leads`,
    );
  }
  return flags.includes(1) ? Uint8Array.from(flags) : NOTHING;
}

/** @param {Behaviour} behaviour @param {Columns} columns @param {Uint8Array} stepType */
function maskBytes(behaviour, columns, stepType) {
  if (columns.actionMask === undefined) return NOTHING;
  const name = `behaviour '${behaviour.name}', actionMask`;
  const flat = flattened(columns.actionMask);
  const expected = stepType.length * behaviour.numChoices;
  if (flat.length !== expected) {
    throw new SpecError(
      `${name} has ${flat.length} numbers; expected ${expected}: ${stepType.length} rows of ` +
        `${behaviour.numChoices} choices`,
    );
  }
  const mask = new Uint8Array(flat.length);
  for (let index = 0; index < mask.length; index += 1) {
    const allowed = Number(flat[index]);
    if (allowed !== 0 && allowed !== 1) {
      throw new SpecError(
        `${name} holds ${flat[index]}; expected 1 where a choice is allowed, else 0`,
      );
    }
    mask[index] = allowed;
  }
  if (mask.every((allowed) => allowed)) return NOTHING;
  stepType.forEach((type, row) => {
    if (type <= MID) checkRowOfMask(behaviour, name, mask, row, columns.agentId[row] ?? 0);
  });
  return mask;
}

/** SpecError if a branch has no allowed choice. @param {Behaviour} behaviour @param {string} name
 * @param {Uint8Array} mask @param {number} row @param {number | bigint} agent */
function checkRowOfMask(behaviour, name, mask, row, agent) {
  let start = row * behaviour.numChoices;
  behaviour.action.branches.forEach((choices, branch) => {
    if (!mask.subarray(start, start + choices).includes(1)) {
      throw new SpecError(
        `${name} row ${row} (agent ${agent}) allows none of the ${choices} choices of branch ` +
          `${branch}; allow at least one, or end the agent's episode`,
      );
    }
    start += choices;
  });
}

/** One number for each row. @template {Uint8ArrayConstructor | Float32ArrayConstructor} T
 * @param {string} name @param {number | ArrayLike<number>} values @param {number} rows
 * @param {T} type @returns {InstanceType<T>} */
function column(name, values, rows, type) {
  const all = /** @type {ArrayLike<number>} */ (each(values, rows, name));
  const made = all instanceof type ? all : type.from(all);
  return /** @type {InstanceType<T>} */ (made);
}

/** @template {number | bigint | boolean} T @param {T | ArrayLike<T>} values @param {number} rows
 * @param {string} name @returns {ArrayLike<T>} */
export function each(values, rows, name) {
  if (typeof values !== "object") return Array(rows).fill(values);
  if (values.length === rows) return values;
  throw new SpecError(
    `${name} has ${values.length} numbers; expected one for each of ${rows} rows`,
  );
}

/** @param {string} name @param {ArrayLike<number | bigint>} values */
function wholeNumbers(name, values) {
  for (let row = 0; row < values.length; row += 1) {
    const value = values[row];
    if (typeof value !== "bigint" && !Number.isSafeInteger(value)) {
      throw new SpecError(`${name} of row ${row} is ${value}; it must be a whole number`);
    }
  }
  return values;
}

/** @param {string} name @param {Float32Array} values @param {number} size numbers in a row
 * @param {ArrayLike<number | bigint>} agents */
function checkFinite(name, values, size, agents) {
  for (let index = 0; index < values.length; index += 1) {
    if (Number.isFinite(values[index])) continue;
    const row = Math.floor(index / size);
    throw new SpecError(
      `${name}, row ${row} (agent ${agents[row]}) holds ${values[index]}; all numbers must be ` +
        "finite: find where the simulator divides by zero, lets a body leave the world, reads a " +
        "name that is not there, or exceeds what float32 holds (3.4e38)",
    );
  }
}

/** @param {Numbers} values @returns {ArrayLike<number>} */
export function flattened(values) {
  if (ArrayBuffer.isView(values)) return /** @type {ArrayLike<number>} */ (values);
  const list = /** @type {any[]} */ (values);
  if (!list.some((value) => typeof value === "object")) return list;
  return list.flatMap((value) =>
    typeof value === "object" ? Array.from(flattened(value)) : value,
  );
}
