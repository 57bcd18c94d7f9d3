// The actions that a trainer chose for the rows of one behaviour that need one.

import { WireError } from "./errors.js";
import { bytesOf4, floatsIn, intsIn } from "./protobuf.js";

/** See types/index.d.ts. */
export class ActionBatch {
  /**
   * @param {import("./spec.js").Behaviour} behaviour
   * @param {readonly (number | bigint)[]} agentId of the rows that needed an action
   * @param {import("./messages.js").BehaviourAct | undefined} part
   */
  constructor(behaviour, agentId, part) {
    const nothing = new Uint8Array(0);
    const { continuous = nothing, discrete = nothing, policyVersion = 0 } = part ?? {};
    this.agentId = agentId;
    this.continuousSize = behaviour.continuousSize;
    this.numBranches = behaviour.numBranches;
    checkSize(behaviour.name, "continuous", continuous, agentId.length, this.continuousSize);
    checkSize(behaviour.name, "discrete", discrete, agentId.length, this.numBranches);
    this.continuous = floatsIn(continuous);
    this.discrete = intsIn(discrete);
    checkChoices(behaviour, this.discrete);
    this.policyVersion = policyVersion;
  }

  /** Actions that were not the trainer's: version 0.
   * @param {import("./spec.js").Behaviour} behaviour
   * @param {readonly {agentId: number | bigint}[]} rows that need an action
   * @param {readonly import("../types/index.js").ChosenAction[]} chosen one for each row */
  static of(behaviour, rows, chosen) {
    const numbers = (/** @type {"continuous" | "discrete"} */ name) =>
      chosen.flatMap((action) => Array.from(action[name] ?? []));
    return new ActionBatch(
      behaviour,
      rows.map(({ agentId }) => agentId),
      {
        behaviour: behaviour.name,
        continuous: bytesOf4(Float32Array.from(numbers("continuous"))),
        discrete: bytesOf4(Int32Array.from(numbers("discrete"))),
        policyVersion: 0,
      },
    );
  }

  get length() {
    return this.agentId.length;
  }

  /** The action of one row; its arrays are parts of the batch's own. @param {number} row */
  at(row) {
    const { continuousSize: size, numBranches: branches } = this;
    return {
      agentId: /** @type {number | bigint} */ (this.agentId[row]),
      continuous: this.continuous.subarray(row * size, (row + 1) * size),
      discrete: this.discrete.subarray(row * branches, (row + 1) * branches),
    };
  }

  *[Symbol.iterator]() {
    for (let row = 0; row < this.length; row += 1) yield this.at(row);
  }
}

/** @param {string} behaviour @param {string} field @param {Uint8Array} bytes @param {number} rows
 * @param {number} width */
function checkSize(behaviour, field, bytes, rows, width) {
  const expected = 4 * rows * width;
  if (bytes.length !== expected) {
    throw new WireError(
      `behaviour '${behaviour}', ${field} actions have ${bytes.length} bytes; expected ${expected}: ` +
        `${rows} rows of ${width} numbers`,
    );
  }
}

/** WireError if a choice is not one of its branch's.
 * @param {import("./spec.js").Behaviour} behaviour @param {Int32Array} discrete row after row */
function checkChoices({ name, action: { branches } }, discrete) {
  for (let index = 0; index < discrete.length; index += 1) {
    const choice = discrete[index] ?? 0;
    const choices = branches[index % branches.length] ?? 0;
    if (choice >= 0 && choice < choices) continue;
    throw new WireError(
      `behaviour '${name}', discrete actions have choice ${choice} in row ` +
        `${Math.floor(index / branches.length)}, branch ${index % branches.length}; expected 0 to ` +
        `${choices - 1}: who chose it has another spec, or the message was damaged`,
    );
  }
}
