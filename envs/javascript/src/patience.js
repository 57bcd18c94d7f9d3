// How long and how often to dial a trainer that does not answer: waits that double, with jitter.

import { sleep } from "./clock.js";

const FIRST_DELAY_S = 0.1;
const LONGEST_DELAY_S = 2;

export class Patience {
  #clock;
  #deadlineS;
  #delayS = 0;

  /** @param {number} totalS @param {import("./clock.js").Clock} clock */
  constructor(totalS, clock) {
    this.totalS = totalS;
    this.#clock = clock;
    this.#deadlineS = clock.nowS() + totalS;
  }

  /** Wait until the next try, the first of which never waits; false if the time is over.
   * @param {AbortSignal} signal */
  async wait(signal) {
    if (this.#delayS > 0) {
      const leftS = this.#deadlineS - this.#clock.nowS();
      if (leftS <= 0) return false;
      // Jitter, so that simulators that lost a trainer together do not dial it together.
      const delayS = this.#delayS * (0.5 + Math.random());
      await sleep(this.#clock, Math.min(leftS, delayS), signal);
    }
    this.#delayS = Math.min(LONGEST_DELAY_S, Math.max(FIRST_DELAY_S, 2 * this.#delayS));
    return true;
  }

  /** `timeoutS` or the time left, whichever is less, but at least a second. @param {number} timeoutS */
  limit(timeoutS) {
    return Math.max(1, Math.min(timeoutS, this.#deadlineS - this.#clock.nowS()));
  }
}
