// Rows of a world that did not wait: those of several steps become one for each agent.
//
// The trainer gave each agent an action, which came too late; a fallback acted, perhaps in several
// steps. What the trainer is told in the end is one outcome of its action, with the rewards of all of
// them, and the newest observation. If the episode ended, its end is that outcome, and the next one
// begins, for the trainer, with the newest observation.

import { FIRST, MID } from "./timesteps.js";

/** @typedef {import("../types/index.js").TimestepRow} Row */
/** @typedef {{row: Row, isDue: boolean}} Kept a row, and whether it is to be sent now */

/** The rows of one behaviour that are to be sent, at most two for each agent. */
export class LateRows {
  /** @type {Kept[]} */
  #kept = [];

  get isEmpty() {
    return !this.#kept.length;
  }

  /** The rows of the next step. @param {readonly Row[]} rows as the world gives them
   * @param {ReadonlySet<string>} tooLate agents whose action came too late, if it led to these rows. One
   * that has rows here already stays as late as those are: what follows them belongs to the same action */
  add(rows, tooLate) {
    const before = this.#kept.length;
    const all = [...this.#kept.map(({ row }) => row), ...rows];
    /** @type {Map<string, number[]>} */
    const ofAgent = new Map();
    all.forEach(({ agentId }, index) => {
      const indices = ofAgent.get(String(agentId));
      if (indices) indices.push(index);
      else ofAgent.set(String(agentId), [index]);
    });
    /** @type {Map<number, Row>} */
    const merged = new Map();
    for (const [agent, indices] of ofAgent) {
      const first = indices[0] ?? 0;
      const isLate = first < before ? Boolean(all[first]?.late) : tooLate.has(agent);
      mergeAgent(all, indices, isLate, merged);
    }
    // A row that was here before and is still the newest waits: its agent has acted on it.
    this.#kept = [...merged.keys()]
      .sort((a, b) => a - b)
      .map((index) => {
        const row = /** @type {Row} */ (merged.get(index));
        return { row, isDue: index >= before || row.stepType > MID };
      });
  }

  /** The rows to send now; the others stay. */
  take() {
    const due = this.#kept.filter(({ isDue }) => isDue).map(({ row }) => row);
    this.#kept = this.#kept.filter(({ isDue }) => !isDue);
    return due;
  }
}

/** One agent's rows become at most an end and a beginning.
 * @param {readonly Row[]} all @param {readonly number[]} indices of the agent's rows, in order
 * @param {boolean} isLate @param {Map<number, Row>} merged gets {index: row as it is sent} */
function mergeAgent(all, indices, isLate, merged) {
  const rows = indices.map((index) => /** @type {Row} */ (all[index]));
  // The life in which the trainer has given an action: until its end, if it did not begin here.
  const end = rows.findIndex(({ stepType }) => stepType > MID);
  const numKnown = rows[0]?.stepType === FIRST ? 0 : end < 0 ? rows.length : end + 1;
  const known = rows.slice(0, numKnown);
  const last = rows.length - 1;
  const sums = {
    reward: known.reduce((sum, { reward = 0 }) => sum + reward, 0),
    ...(rows.some(({ groupReward }) => groupReward !== undefined)
      ? { groupReward: known.reduce((sum, { groupReward = 0 }) => sum + groupReward, 0) }
      : {}),
  };
  rows.forEach((row, at) => {
    const isEnd = row.stepType > MID;
    const isKnown = at < numKnown;
    if (!(isEnd ? isKnown : at === last)) return;
    merged.set(indices[at] ?? 0, {
      ...row,
      ...(isKnown
        ? sums
        : { reward: 0, ...(row.groupReward === undefined ? {} : { groupReward: 0 }) }),
      stepType: isEnd ? row.stepType : isKnown ? MID : FIRST,
      late: isKnown && isLate,
    });
  });
}
