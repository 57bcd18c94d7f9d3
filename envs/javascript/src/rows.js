// Timesteps of one behaviour as a list of rows, copied, so that they outlive the caller's arrays.

import { SpecError } from "./errors.js";
import { each, flattened, isRows } from "./timesteps.js";

/** @typedef {import("./spec.js").Behaviour} Behaviour */
/** @typedef {import("../types/index.js").TimestepColumns} Columns */
/** @typedef {import("../types/index.js").TimestepRow} TimestepRow */

/** Throw where a `return` was forgotten, or the behaviour's name. @param {unknown} timesteps */
export function requireByBehaviour(timesteps) {
  const isByName = (/** @type {unknown} */ value) => typeof value === "object" && value !== null;
  const isRight = isByName(timesteps) && !Array.isArray(timesteps);
  if (isRight && Object.values(/** @type {object} */ (timesteps)).every(isByName)) return;
  const arrived = Array.isArray(timesteps) ? "a list" : isRight ? "no rows in it" : timesteps;
  throw new SpecError(
    `rows by behaviour were expected, such as { rabbit: [...] }, and ${arrived} came; what do ` +
      "reset and step of your world return, or exchange and send get?",
  );
}

/** @param {Behaviour} behaviour @param {import("../types/index.js").Timesteps} timesteps
 * @returns {TimestepRow[]} */
export function rowsOf(behaviour, timesteps) {
  if (!isRows(timesteps)) return fromColumns(behaviour, timesteps);
  return timesteps.map((row) => ({
    ...row,
    observation: Object.fromEntries(
      Object.entries(row.observation).map(([name, values]) => [name, copied(values)]),
    ),
  }));
}

/** @param {import("../types/index.js").Numbers | number} values */
function copied(values) {
  return typeof values === "number" ? values : Array.from(flattened(values));
}

/** @param {Behaviour} behaviour @param {Columns} columns @returns {TimestepRow[]} */
function fromColumns(behaviour, columns) {
  const count = columns.agentId.length;
  const where = `behaviour '${behaviour.name}'`;
  const [stepType, reward] = [
    each(columns.stepType, count, `${where}, stepType`),
    each(columns.reward, count, `${where}, reward`),
  ];
  const parts = Object.entries(columns.observation).map(([name, values]) => {
    const flat = flattened(values);
    return /** @type {const} */ ([name, flat, flat.length / count]);
  });
  const { actionMask, groupId, groupReward, late } = columns;
  const mask = actionMask && flattened(actionMask);
  const groups = groupId !== undefined && each(groupId, count, `${where}, groupId`);
  const earned = groupReward !== undefined && each(groupReward, count, `${where}, groupReward`);
  const flags = late !== undefined && each(late, count, `${where}, late`);
  return Array.from({ length: count }, (_, row) => ({
    agentId: columns.agentId[row] ?? 0,
    stepType: stepType[row] ?? 0,
    reward: reward[row] ?? 0,
    observation: Object.fromEntries(
      parts.map(([name, flat, size]) => [name, part(flat, row, size)]),
    ),
    ...(mask ? { actionMask: part(mask, row, behaviour.numChoices) } : {}),
    ...(groups ? { groupId: groups[row] ?? 0 } : {}),
    ...(earned ? { groupReward: earned[row] ?? 0 } : {}),
    ...(flags ? { late: Boolean(flags[row]) } : {}),
  }));
}

/** One row of an array. @param {ArrayLike<number>} flat @param {number} row @param {number} size */
function part(flat, row, size) {
  return Array.prototype.slice.call(flat, row * size, (row + 1) * size);
}
