// A promise that is waited for in parts, each of which leaves nothing behind.
//
// `Promise.race` would leave something at the promise for each part, for as long as it is not settled:
// a Step of a simulator for evaluations waits for hours.

/** @template T */
export class InParts {
  #promise;
  #isSettled = false;
  #wake = () => {};

  /** If it is rejected while nobody waits, that is no fault. @param {Promise<T>} promise */
  constructor(promise) {
    this.#promise = promise;
    const settle = () => {
      this.#isSettled = true;
      this.#wake();
    };
    promise.then(settle, settle);
  }

  /** What the promise brings, or null if that takes longer.
   * @param {number} waitS @param {import("./clock.js").Clock} clock @returns {Promise<T | null>} */
  async within(waitS, clock) {
    if (!this.#isSettled) {
      let cancel = () => {};
      await /** @type {Promise<void>} */ (
        new Promise((resolve) => {
          this.#wake = resolve;
          cancel = clock.after(waitS, resolve);
        })
      );
      cancel();
    }
    return this.#isSettled ? this.#promise : null;
  }
}
