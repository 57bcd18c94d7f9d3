// What acts where the trainer's actions came too late: the last action again, or a neutral one.

import { FIRST } from "./timesteps.js";

/** @typedef {import("./spec.js").Behaviour} Behaviour */
/** @typedef {import("../types/index.js").TimestepRow} Row */
/** @typedef {{continuous: ArrayLike<number>, discrete: ArrayLike<number>}} Chosen of one agent */

/** Zero, or what is nearest to it within the bounds; of each branch the first allowed choice.
 * @param {Behaviour} behaviour @param {Row} row @returns {Chosen} */
export function neutral({ action: { low, high, branches } }, row) {
  return {
    continuous: low.map((bound, index) => Math.min(Math.max(0, bound), high[index] ?? 0)),
    discrete: starts(branches).map((start, branch) => {
      const choices = Array.from({ length: branches[branch] ?? 0 }, (_, choice) => choice);
      return choices.find((choice) => isAllowed(row, start + choice)) ?? 0;
    }),
  };
}

/** The action that each agent took last in its episode, whether the trainer's or a fallback's. Never one
 * that came too late: such an action decides nothing, so that it need not be learned from. */
export class LastActions {
  #behaviour;
  /** @type {Map<string, Chosen>} by agent */
  #last = new Map();

  /** @param {Behaviour} behaviour */
  constructor(behaviour) {
    this.#behaviour = behaviour;
  }

  /** These actions were taken. Agents whose episode ended are forgotten.
   * @param {readonly Row[]} rows @param {Iterable<Chosen & {agentId: number | bigint}>} actions */
  note(rows, actions) {
    for (const { agentId } of rows) this.#last.delete(String(agentId));
    for (const { agentId, continuous, discrete } of actions) {
      const copy = { continuous: Array.from(continuous), discrete: Array.from(discrete) };
      this.#last.set(String(agentId), copy);
    }
  }

  /** The same once more; neutral where an episode begins, or a choice is forbidden now.
   * @param {Row} row @returns {Chosen} */
  again(row) {
    const other = neutral(this.#behaviour, row);
    const last = row.stepType === FIRST ? undefined : this.#last.get(String(row.agentId));
    if (!last) return other;
    return {
      continuous: last.continuous,
      discrete: starts(this.#behaviour.action.branches).map((start, branch) => {
        const choice = last.discrete[branch] ?? 0;
        return isAllowed(row, start + choice) ? choice : (other.discrete[branch] ?? 0);
      }),
    };
  }
}

/** Where each branch begins in a mask. @param {readonly number[]} branches */
function starts(branches) {
  let sum = 0;
  return branches.map((choices) => {
    sum += choices;
    return sum - choices;
  });
}

/** @param {Row} row @param {number} choice of all branches in a row */
function isAllowed({ actionMask }, choice) {
  return !actionMask || Boolean(actionMask[choice]);
}
