// The clock that a client waits by. Tests give another one.

/**
 * @typedef {object} Clock
 * @property {() => number} nowS monotonic, in seconds
 * @property {(delayS: number, call: () => void) => () => void} after calls once; returns how to cancel
 */

const LONGEST_TIMER_S = 2_000_000;

/** @type {Clock} */
export const REAL_CLOCK = {
  nowS: () => performance.now() / 1000,
  after(delayS, call) {
    // Timers hold 31 bits of milliseconds: longer is for ever.
    if (delayS > LONGEST_TIMER_S) return () => {};
    const timer = setTimeout(call, 1000 * delayS);
    return () => clearTimeout(timer);
  },
};

/** Resolves after a time, or is rejected with the signal's reason.
 * @param {Clock} clock @param {number} delayS @param {AbortSignal} signal @returns {Promise<void>} */
export function sleep(clock, delayS, signal) {
  return new Promise((resolve, reject) => {
    const aborted = () => {
      cancel();
      reject(signal.reason);
    };
    const cancel = clock.after(delayS, () => {
      signal.removeEventListener("abort", aborted);
      resolve();
    });
    if (signal.aborted) aborted();
    else signal.addEventListener("abort", aborted, { once: true });
  });
}
