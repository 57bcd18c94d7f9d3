// Numbers for people that a simulator has noted and its next step will carry.

import { SpecError } from "./errors.js";

const LONGEST_NAME = 200;
const MOST_VALUES = 10_000;
const AGGREGATIONS = ["mean", "last", "sum", "histogram"];

/** @typedef {import("./messages.js").Statistic} Statistic */

export class NotedStatistics {
  /** @type {Map<string, Statistic>} */
  #waiting = new Map();
  #numValues = 0;
  /** @type {Set<string>} */
  #said = new Set();
  #log;

  /** @param {(line: string) => void} log */
  constructor(log) {
    this.#log = log;
  }

  /** @param {string} name @param {number} value @param {Statistic["aggregation"]} aggregation */
  add(name, value, aggregation) {
    if (!name || name.length > LONGEST_NAME || /\p{C}/u.test(name)) {
      throw new SpecError(
        `a statistic is called '${name.slice(0, LONGEST_NAME)}'; expected 1 to ${LONGEST_NAME} ` +
          "printable characters",
      );
    }
    if (!AGGREGATIONS.includes(aggregation)) {
      throw new SpecError(
        `statistic '${name}' has the aggregation '${aggregation}'; it must be one of ` +
          AGGREGATIONS.join(", "),
      );
    }
    if (!Number.isFinite(value)) {
      this.#sayOnce(name, `statistic '${name}' is ${value}: left out, like others of it`);
    } else if (this.#numValues >= MOST_VALUES) {
      this.#sayOnce("", `more than ${MOST_VALUES} values of statistics in one step: some left out`);
    } else this.#keep(name, value, aggregation);
  }

  /** All that waits, as the next step carries it. */
  messages() {
    return [...this.#waiting.values()];
  }

  /** All of it was sent. */
  clear() {
    this.#waiting.clear();
    this.#numValues = 0;
  }

  /** @param {string} name @param {number} value @param {Statistic["aggregation"]} aggregation */
  #keep(name, value, aggregation) {
    this.#numValues += 1;
    const found = this.#waiting.get(name);
    if (found) {
      found.values.push(value);
      found.aggregation = aggregation;
    } else this.#waiting.set(name, { name, aggregation, values: [value] });
  }

  /** @param {string} about @param {string} words */
  #sayOnce(about, words) {
    if (this.#said.has(about) || this.#said.size > 1000) return;
    this.#said.add(about);
    this.#log(words);
  }
}
