// How long and how often to dial a trainer that does not answer: waits that double, with jitter.

import { sleep } from "./clock.js";

const FIRST_DELAY_S = 0.1;
const LONGEST_DELAY_S = 2;

/** A stream that was whole for longer than this has ended the trouble before it. */
const HELD_S = 10;

/** The time begins anew after a stream that held. */
export class Patience {
  #clock;
  #deadlineS = 0;
  #delayS = 0;
  #wholeSinceS = Infinity;

  /** @param {number} totalS @param {import("./clock.js").Clock} clock */
  constructor(totalS, clock) {
    this.totalS = totalS;
    this.#clock = clock;
    this.renew();
  }

  /** All of the time is there again, from now on. */
  renew() {
    this.#deadlineS = this.#clock.nowS() + this.totalS;
    this.#delayS = 0;
    this.#wholeSinceS = Infinity;
  }

  /** There is a stream now. Should it break, `wait` is called again. */
  noteStream() {
    this.#wholeSinceS = this.#clock.nowS();
  }

  /** Wait until the next try, the first of which never waits; false if the time is over.
   * @param {AbortSignal} signal */
  async wait(signal) {
    if (this.#clock.nowS() - this.#wholeSinceS > HELD_S) this.renew();
    this.#wholeSinceS = Infinity;
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
